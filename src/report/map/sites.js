// The profile in the map: which sampled block lies where, the colours of sites, the blocks of a site lit up, and the
// tables of sites and labels.

// ---- samples, each put to the item that it lies in

const sampled = [];
// The own function of a site, as an index of names; -1 where the site is not known.
const ownOf = (site) => (site < 0 ? -1 : P.sites[site][1]);
function placeSamples() {
  let at = 0;
  for (const [address, size, site, age, , label] of P.samples) {
    while (at < stretches.length && stretches[at].end <= address) at += 1;
    const s = stretches[at];
    if (!s || s.start > address) continue;
    const sample = { s, start: address, size, site, age, label };
    for (let i = itemAt(s, address); i < s.kinds.length && s.starts[i] < address + size; i++) {
      const who = s.who.get(i) || { sums: new Map(), slots: new Map(), own: -1, bytes: 0 };
      const part = Math.min(s.starts[i + 1], address + size) - Math.max(s.starts[i], address);
      s.who.set(i, who);
      if (site >= 0) {
        const own = ownOf(site), sum = (who.sums.get(own) || 0) + part;
        who.sums.set(own, sum);
        who.bytes += part;
        if (sum >= (who.sums.get(who.own) || 0)) who.own = own;
      }
      if (s.kinds[i] !== "c") {
        const slot = s.kinds[i] === "s" ? Math.floor((address - s.starts[i]) / s.more[i].slot) : 0;
        sample.start = s.starts[i] + (s.kinds[i] === "s" ? slot * s.more[i].slot : 0);
        sample.size = s.kinds[i] === "s" ? s.more[i].slot : s.starts[i + 1] - s.starts[i];
        who.slots.set(slot, sample);
        break;
      }
    }
    sampled.push(sample);
  }
}
// The functions that hold the most have colours of their own.
const ranks = new Map();
function rankFunctions() {
  const sums = new Map();
  for (const site of P.sites) {
    sums.set(site[1], (sums.get(site[1]) || 0) + site[2]);
    siteCounts.set(site[1], (siteCounts.get(site[1]) || 0) + 1);
  }
  const largest = [...sums].sort((a, b) => b[1] - a[1]).slice(0, SITES.length);
  largest.forEach(([own], rank) => ranks.set(own, rank));
}

// ---- colours of sites

// Without the pink of cached slots; the last two differ from the rest by lightness also for the colour-blind.
const SITES = ["#e69f00", "#0072b2", "#009e73", "#d55e00", "#56b4e9", "#f0e442", "#332288", "#8b0000"].map(rgb);
const mix = (a, b, part) => a.map((c, i) => c + (b[i] - c) * part);
const ownColour = (own) => (own < 0 ? theme.unknownRgb : SITES[ranks.get(own)] || theme.othersRgb);
// A slab that has samples is a paler mix of its largest function's colour: that function's code pins its pages.
const pale = (who) => (who && who.own >= 0 ? mix(ownColour(who.own), theme.paperRgb, 0.55) : theme.unknownRgb);

// ---- words

const count = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
const percent = (part, whole) => {
  const n = whole > 0 ? part / whole * 100 : 0;
  return (n >= 10 || n === 0 ? Math.round(n) : n.toFixed(1)) + "%";
};
const signed = (n) => (n < 0 ? "\u2212" : "+") + bytes(Math.abs(n));
// An interval in the unit of the number that it is of: "12.3 MiB, 10.1 to 14.9".
function interval(n, low, high) {
  const unit = 1024 ** Math.min(Math.floor(Math.log2(Math.max(n, 1)) / 10), 5);
  const short = (bound) => (bound / unit >= 100 || unit === 1 ? Math.round(bound / unit) : (bound / unit).toFixed(1));
  return `${short(low)} to ${short(high)}`;
}
function ageText(seconds) {
  const units = [[86400, "days"], [3600, "h"], [60, "min"]];
  const [unit, name] = units.find(([size]) => seconds >= 2 * size) || [1, "s"];
  const n = seconds / unit;
  return `${n < 10 ? n.toFixed(1) : Math.round(n)} ${name}`;
}
// The sample that lies where `shown` is, if one does, in words.
function withSample(shown, who, slot) {
  const sample = who && who.slots.get(slot);
  if (!sample) return shown;
  const name = sample.site < 0 ? "a site that is not known" : P.names[ownOf(sample.site)];
  const label = sample.label >= 0 ? P.labels[sample.label][0] : "";
  const under = label ? `, label ${label}` : "";
  const text = `${shown.text}\nallocated by ${name} ${ageText(sample.age)} ago${under}`;
  return { ...shown, site: sample.site, text };
}

// ---- light up

// Dims the map but for the blocks that are lit up. Where one is too narrow for an outline, it is a stroke; and each
// row that has one has a tick in the gutter.
function drawLit(context) {
  const top = scroller.scrollTop, tall = scroller.clientHeight;
  let lastX = -9, lastY = -9, lastTick = -9;
  const stroke = (x, end, y) => {
    if (y !== lastTick) context.fillRect(GUTTER - 8, y, 5, BAR);
    lastTick = y;
    if (end - x >= 5) {
      context.clearRect(x, y, end - x, BAR);
      context.strokeRect(x, y, end - x, BAR);
    } else if (y !== lastY || x - lastX >= 1) {
      context.fillRect((x + end) / 2 - 1, y - 1, 2, BAR + 2);
      [lastX, lastY] = [x, y];
    }
  };
  for (const group of rows) {
    const first = Math.max(0, Math.floor((top - group.y - GROUP) / ROW));
    const end = Math.min(group.count, Math.ceil((top + tall - group.y - GROUP) / ROW));
    if (first >= end) continue;
    context.globalAlpha = 0.7;
    context.fillStyle = theme.paper;
    context.fillRect(GUTTER, group.y + GROUP + first * ROW - top, width - GUTTER + 4, (end - first) * ROW);
    context.globalAlpha = 1;
    context.fillStyle = context.strokeStyle = theme.mark;
    context.lineWidth = 2;
    const from = (group.first + first) * rowBytes, to = (group.first + end) * rowBytes;
    for (const block of lit.blocks) {
      if (block.s !== group.s || block.start + block.size <= from || block.start >= to) continue;
      for (let row = Math.max(Math.floor(block.start / rowBytes), group.first + first);
        row < group.first + end && row * rowBytes < block.start + block.size; row++) {
        const a = Math.max(block.start - row * rowBytes, 0), b = block.start + block.size - row * rowBytes;
        stroke(xOf(a), xOf(Math.min(b, rowBytes)), yOf(group, row * rowBytes) - top);
      }
    }
  }
}
// Lights up the sampled blocks that are meant, or nothing.
function light(name, isMeant, sum) {
  const blocks = isMeant ? sampled.filter(isMeant) : [];
  lit = isMeant && { blocks, at: -1 };
  for (const row of $("labels").tBodies[0].rows) row.classList.remove("lit");
  marks.dataset.lit = blocks.length;
  $("next").hidden = !blocks.length;
  if (isMeant) {
    const homes = new Set();
    let large = 0;
    for (const { s, start } of blocks) {
      const i = itemAt(s, start);
      if (s.kinds[i] === "b") large += 1; else homes.add(s.starts[i]);
    }
    const places = [homes.size && count(homes.size, D.cell ? "cell" : "slab"), large && count(large, "larger block")];
    const where = places.filter((place) => place).join(" and ");
    kept = null;
    $("found").textContent = `${name}: ${count(blocks.length, "sample")}${where ? " in " + where : ""}, `
      + `${blocks.length === 1 ? "stands" : "stand"} for ${bytes(sum)}`;
  }
  drawMarks();
}
function goToNext() {
  lit.at = (lit.at + 1) % lit.blocks.length;
  goTo(lit.blocks[lit.at].start);
  $("found").textContent = `${lit.at + 1} of ${lit.blocks.length}: ${$("found").textContent}`;
}

// ---- the table of sites

const TOP_SITES = 12, MOST_SITES = 1000;
// A column: its head, its text of a site, and whether a narrow screen does without it.
const columns = () => [
  ["live", (site) => bytes(site[2])],
  ["95% interval", (site) => interval(site[2], site[3], site[4]), true],
  ["blocks", (site) => site[5].toLocaleString("en"), true],
  ["lost in slots", (site) => percent(Math.max(site[2] - site[8], 0), site[2]), true],
  ["oldest", (site) => (site[7] === null ? "" : ageText(site[7])), true],
  ...(P.growth === null ? [] : [["grown", (site) => (site[9] ? signed(site[9]) : "0")]]),
];
// What tells a site from others of the same function: what the function called, or else its caller.
const siteCounts = new Map();
function detail(index) {
  const [node, own] = P.sites[index];
  if (siteCounts.get(own) < 2) return "";
  const path = pathOf(tree[node]), at = path.findLastIndex((frame) => frame.name === own);
  return at < 0 ? "" : path[at + 1] ? ` via ${path[at + 1].text}` : path[at - 1] ? ` from ${path[at - 1].text}` : "";
}
function siteName(index) {
  const button = document.createElement("button"), own = ownOf(index), patch = document.createElement("i");
  button.type = "button";
  button.dataset.site = index;
  patch.className = "patch";
  patch.style.background = `rgb(${SITES[ranks.get(own)] || theme.othersRgb})`;
  const small = document.createElement("small");
  small.append(detail(index));
  button.append(patch, shortName(P.names[own]), small);
  button.title = pathOf(tree[P.sites[index][0]]).map((node) => P.names[node.name]).join("\n");
  button.addEventListener("click", () => chooseSite(index));
  return button;
}
function cell(kind, text, isMinor) {
  const made = document.createElement(kind);
  made.append(text);
  if (isMinor) made.className = "minor";
  return made;
}
function siteTable(most) {
  const head = document.createElement("tr");
  const names = columns().map(([name, , isMinor]) => cell("th", name, isMinor));
  head.append(cell("th", "function"), ...names, cell("th", ""));
  $("sites").tHead.replaceChildren(head);
  $("sites").tBodies[0].replaceChildren(...P.sites.slice(0, most).map((site, index) => {
    const row = document.createElement("tr"), suspect = cell("td", site[10] ? "leak suspect" : "");
    suspect.className = "suspect";
    const numbers = columns().map(([, text, isMinor]) => cell("td", text(site), isMinor));
    row.append(cell("td", siteName(index)), ...numbers, suspect);
    return row;
  }));
  $("more").hidden = P.sites.length <= most || most === MOST_SITES;
  $("more").textContent = P.sites.length > MOST_SITES ? `the first ${MOST_SITES} sites` : `all ${P.sites.length} sites`;
}
function chooseSite(index) {
  const [node, own, sum] = P.sites[index];
  light(P.names[own], (sample) => sample.site === index, sum);
  markPath(node);
  picked(tree[node]);
  for (const row of $("sites").tBodies[0].rows) row.classList.toggle("lit", row.rowIndex - 1 === index);
}

// ---- the table of labels

function labelTable() {
  $("labelled").hidden = !P.labels.some(([name]) => name);
  const head = document.createElement("tr");
  head.append(cell("th", "label"), cell("th", "live"), cell("th", "95% interval", true), cell("th", "blocks", true));
  $("labels").tHead.replaceChildren(head);
  const rows = P.labels.map(([name, sum, low, high, blocks], index) => {
    const row = document.createElement("tr"), button = document.createElement("button");
    button.type = "button";
    button.append(name || "(none)");
    button.addEventListener("click", () => chooseLabel(index, row));
    row.append(cell("td", button), cell("td", bytes(sum)), cell("td", interval(sum, low, high), true),
      cell("td", blocks.toLocaleString("en"), true));
    return { row, sum };
  });
  $("labels").tBodies[0].replaceChildren(...rows.sort((a, b) => b.sum - a.sum).map(({ row }) => row));
}
function chooseLabel(index, row) {
  markPath(null);
  light(P.labels[index][0] || "no label", (sample) => sample.label === index, P.labels[index][1]);
  row.classList.add("lit");
}
$("next").addEventListener("click", goToNext);
