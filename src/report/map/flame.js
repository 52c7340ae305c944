// The profile's stacks as a graph of boxes. The root is at the top and callees hang below it: so the outermost frames,
// which say where one is, stay in view when a deep graph is scrolled, and a label is read before what it calls. Boxes
// are elements, not a canvas, so that they have names, tooltips and a focus; only those that can be seen are made.

const FRAME_ROW = 20, LEAST_FRAME = 1, LEAST_LABEL = 26;
const flame = $("flame");
let tree = [], whole = null, focus = null, current = null, flameMode = "live", needle = "", matches = [];
const boxes = new Map(), marked = new Set();

// ---- names

// The text without what stands in angle brackets; the ">" of an arrow closes none.
function withoutGenerics(text) {
  let depth = 0, kept = "";
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "<") depth += 1;
    else if (text[i] === ">" && text[i - 1] !== "-") depth -= 1;
    else if (depth === 0) kept += text[i];
  }
  return kept.replace(/(::)+/g, "::").replace(/::$/, "");
}
// "<a::b::Type<T> as c::Trait>::call::{closure#0}" is "Type::call {closure}".
const shortNames = new Map();
function shortName(name) {
  if (!shortNames.has(name)) shortNames.set(name, shorten(name));
  return shortNames.get(name);
}
function shorten(name) {
  let text = name.replace(/::h[0-9a-f]{16}$/, "");
  if (text.startsWith("<")) {
    let depth = 0, end = 0, as = 0;
    do {
      if (text[end] === "<") depth += 1;
      if (text[end] === ">" && text[end - 1] !== "-") depth -= 1;
      if (depth === 1 && !as && text.startsWith(" as ", end)) as = end;
      end += 1;
    } while (depth > 0 && end < text.length);
    text = text.slice(1, as || end - 1) + text.slice(end);
  }
  const parts = withoutGenerics(text).split("::").filter((part) => part);
  const isClosure = (part) => part.startsWith("{");
  const named = parts.filter((part) => !isClosure(part)).slice(-2).join("::").replace(/^dyn /, "");
  return (named || name) + (parts.some(isClosure) ? " {closure}" : "");
}

// ---- the tree

const rise = (node) => node.rise, live = (node) => node.bytes;
const value = (node) => (flameMode === "growth" ? rise : live)(node);
function readTree() {
  whole = { name: -1, text: "all known", up: null, kids: [], bytes: 0, blocks: 0, grown: 0, rise: 0, fall: 0,
    sites: [] };
  // Names are shortened when they are drawn: most never are.
  tree = P.nodes.map(([up, name, sum, blocks, grown]) => ({ up, name, get text() { return shortName(P.names[name]); },
    kids: [], bytes: sum, blocks, grown, rise: 0, fall: 0, sites: [] }));
  for (const node of tree) {
    node.up = node.up < 0 ? whole : tree[node.up];
    node.up.kids.push(node);
    node.isLibrary = P.origins[node.name] !== "p";
    const rank = ranks.get(node.name);
    node.tone = rank !== undefined ? rank : node.isLibrary ? node.up.tone : undefined;
  }
  P.sites.forEach((site, index) => tree[site[0]].sites.push(index));
  // A node's net growth hides what grew and shrank inside it, so its width is the sum of what grew: children first.
  for (const node of [...tree].reverse().concat(whole)) {
    const own = node === whole ? 0 : node.grown - node.kids.reduce((sum, kid) => sum + kid.grown, 0);
    node.rise = node.kids.reduce((sum, kid) => sum + kid.rise, Math.max(own, 0));
    node.fall = node.kids.reduce((sum, kid) => sum + kid.fall, Math.max(-own, 0));
  }
  for (const sum of ["bytes", "blocks", "grown"]) whole[sum] = whole.kids.reduce((all, kid) => all + kid[sum], 0);
}
function pathOf(node) {
  const path = [];
  for (let at = node; at && at !== whole; at = at.up) path.unshift(at);
  return path;
}
function sitesBelow(node, sites = new Set()) {
  node.sites.forEach((site) => sites.add(site));
  node.kids.forEach((kid) => sitesBelow(kid, sites));
  return sites;
}
// The children that are drawn: without the library's frames, what these call hangs at the caller.
const isShown = (node) => $("library").checked || !node.isLibrary;
const shownKids = (node) => node.kids.flatMap((kid) => (isShown(kid) ? [kid] : shownKids(kid)));

// ---- words

const fullName = (node) => (node === whole ? "all that is known" : P.names[node.name]);
function numbers(node) {
  const grown = P.growth === null ? "" : `, ${node.grown ? signed(node.grown) : "nothing"} in ${ageText(P.growth)}`;
  const share = percent(node.bytes, whole.bytes);
  return `${bytes(node.bytes)}, ${share} of what is known, ${count(node.blocks, "block")}${grown}`;
}
function sentence() {
  const known = P.samples.filter((sample) => sample[2] >= 0).length;
  const rate = P.mean ? `one in ${bytes(P.mean).replace(".0 ", " ")}` : "of a profile that was stopped";
  const all = bytes(+$("stat-allocated").dataset.value);
  let text = `${count(known, "sample")}, ${rate}, over ${ageText(P.seconds)}, stand for ${bytes(whole.bytes)}; `
    + `${all} are live, ${bytes(P.older[1])} of them older than the profile.`;
  if (P.growth !== null) {
    text += ` In the last ${ageText(P.growth)} ${bytes(whole.rise)} were added where memory grew, and `
      + `${bytes(whole.fall)} went where it shrank${flameMode === "growth" ? ", which is not drawn" : ""}.`;
  }
  $("known").textContent = text;
}
// Says below the graph what is selected; the touch of a finger shows no tooltip.
function picked(node) {
  const path = node && pathOf(node).filter((frame) => isShown(frame) || frame === node).map((frame) => frame.text);
  const long = path && path.length > 5 ? ["\u2026", ...path.slice(-5)] : path;
  $("picked").textContent = node ? `${long.join(" \u203a ") || "all known"}: ${numbers(node)}`
    : "Click a frame to zoom to it and to light up its blocks in the map; the arrow keys and Enter do so, too.";
}

// ---- drawing

function put(node, x, w, row, parts) {
  const box = document.createElement("div");
  box.className = "frame" + (node.isLibrary ? " library" : "") + (marked.has(node) ? " marked" : "");
  box.style.cssText = `left:${x}px;top:${row * FRAME_ROW}px;width:${Math.max(w - 1, 1)}px`;
  if (node.tone !== undefined) {
    const colour = SITES[node.tone];
    box.style.setProperty("--tone", `rgb(${colour})`);
    const lightness = colour[0] * 0.3 + colour[1] * 0.59 + colour[2] * 0.11;
    if (!node.isLibrary) box.style.color = lightness > 115 ? "#000" : "#fff";
  }
  const sum = `all ${flameMode === "growth" ? "growth" : "known"}, ${bytes(value(whole))}`;
  if (w >= LEAST_LABEL) box.textContent = node === whole ? sum : node.text;
  if (needle && node !== whole) box.classList.add(isMatch(node) ? "match" : "miss");
  box.tabIndex = -1;
  box.setAttribute("role", "treeitem");
  box.setAttribute("aria-level", row + 1);
  box.setAttribute("aria-label", `${fullName(node)}: ${numbers(node)}`);
  box.node = node;
  boxes.set(node, box);
  parts.push(box);
  return row;
}
function rest(count_, sum, x, w, row, parts) {
  const box = document.createElement("div");
  box.className = "rest";
  box.style.cssText = `left:${x}px;top:${row * FRAME_ROW}px;width:${Math.max(w - 1, 1)}px`;
  box.dataset.tip = `${count(count_, "more frame")}, too narrow to be drawn: ${bytes(sum)}`;
  parts.push(box);
}
// Children stand side by side, the largest first; so what is too narrow to be drawn keeps its width at their right end,
// in one grey box. What a node allocated itself is the room below it that no child takes.
function lay(node, x, w, row, parts) {
  let deepest = put(node, x, w, row, parts), at = x, small = 0, smallSum = 0;
  const kids = shownKids(node).filter((kid) => value(kid) > 0).sort((a, b) => value(b) - value(a));
  const sum = Math.max(value(node), kids.reduce((all, kid) => all + value(kid), 0));
  for (const kid of kids) {
    const part = w * value(kid) / sum;
    if (part >= LEAST_FRAME) {
      deepest = Math.max(deepest, lay(kid, at, part, row + 1, parts));
      at += part;
    } else {
      small += 1;
      smallSum += value(kid);
    }
  }
  const width_ = sum > 0 ? w * smallSum / sum : 0;
  if (width_ >= LEAST_FRAME) rest(small, smallSum, at, width_, row + 1, parts);
  return deepest;
}
function drawFlame() {
  const hadFocus = flame.contains(document.activeElement), w = flame.clientWidth, parts = [];
  boxes.clear();
  const above = focus === whole ? [] : [whole, ...pathOf(focus).slice(0, -1).filter(isShown)];
  above.forEach((node, row) => put(node, 0, w, row, parts));
  const deepest = lay(focus, 0, w, above.length, parts);
  const inner = document.createElement("div");
  inner.style.height = (deepest + 1) * FRAME_ROW + "px";
  inner.append(...parts);
  flame.replaceChildren(inner);
  above.forEach((node) => boxes.get(node).classList.add("above"));
  moveTo(boxes.has(current) ? current : focus, hadFocus);
}
function moveTo(node, isFocused) {
  if (boxes.has(current)) boxes.get(current).tabIndex = -1;
  current = node;
  const box = boxes.get(node);
  box.tabIndex = 0;
  if (isFocused) box.focus({ preventScroll: false });
}

// ---- selection

// Marks the frames from the root to a node of the profile's tree.
function markPath(index) {
  marked.clear();
  if (index === null) return drawFlame();
  const path = pathOf(tree[index]);
  path.forEach((node) => marked.add(node));
  // A path beside the frame that fills the graph cannot be seen there.
  if (focus !== whole && !marked.has(focus)) focus = whole;
  drawFlame();
}
// Zooms to a frame and lights up its blocks; the root, or null, resets both.
function choose(node) {
  marked.clear();
  for (const row of $("sites").tBodies[0].rows) row.classList.remove("lit");
  focus = node || whole;
  current = focus;
  if (focus === whole) {
    light("", null, 0);
    $("found").textContent = "";
    picked(null);
  } else {
    pathOf(focus).forEach((frame) => marked.add(frame));
    const sites = sitesBelow(focus);
    light(fullName(focus), (sample) => sites.has(sample.site), focus.bytes);
    picked(focus);
  }
  drawFlame();
}

// ---- search

const isMatch = (node) => matches[node.name];
// The share of what matches; a match below another one is not counted again.
function matchedSum(node) {
  if (node !== whole && isMatch(node)) return value(node);
  return node.kids.reduce((sum, kid) => sum + matchedSum(kid), 0);
}
function search() {
  needle = $("function").value.trim().toLowerCase();
  matches = P.names.map((name) => name.toLowerCase().includes(needle));
  const sum = needle && matchedSum(whole);
  $("matched").textContent = needle && `${needle}: ${bytes(sum)}, ${percent(sum, value(whole))}`;
  drawFlame();
}

// ---- controls

function steer(event) {
  const node = current, siblings = [...boxes.keys()].filter((other) => row(other) === row(node));
  const beside = (step) => siblings[siblings.indexOf(node) + step];
  const to = { ArrowUp: () => shownUp(node),
    ArrowDown: () => [...boxes.keys()].find((other) => shownUp(other) === node),
    ArrowLeft: () => beside(-1), ArrowRight: () => beside(1), Home: () => whole }[event.key];
  if (event.key === "Enter" || event.key === " ") choose(node);
  else if (!to) return;
  else if (boxes.has(to())) moveTo(to(), true);
  event.preventDefault();
}
const row = (node) => boxes.get(node).getAttribute("aria-level");
const shownUp = (node) => {
  let up = node.up;
  while (up && !boxes.has(up)) up = up.up;
  return up;
};
function startProfile() {
  placeSamples();
  rankFunctions();
  readTree();
  focus = current = whole;
  $("widths").hidden = P.growth === null;
  siteTable(TOP_SITES);
  labelTable();
  sentence();
  picked(null);
  drawFlame();
  flame.addEventListener("click", (event) => { if (event.target.node) choose(event.target.node); });
  flame.addEventListener("keydown", steer);
  flame.addEventListener("mousemove", (event) => {
    const node = event.target.node;
    showTip(event, node ? `${fullName(node)}\n${numbers(node).replaceAll(", ", "\n")}` : event.target.dataset.tip);
  });
  flame.addEventListener("mouseleave", () => { tip.hidden = true; });
  $("function").addEventListener("input", search);
  $("library").addEventListener("change", () => {
    if (!isShown(focus)) focus = whole;
    drawFlame();
  });
  $("whole").addEventListener("click", () => choose(null));
  $("more").addEventListener("click", () => siteTable(MOST_SITES));
  for (const input of document.querySelectorAll("input[name=width]")) {
    input.addEventListener("change", () => { flameMode = input.value; sentence(); search(); });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target.tagName !== "INPUT") choose(null);
  });
  new ResizeObserver(drawFlame).observe(flame);
}
