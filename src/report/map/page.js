"use strict";
// The map: rows of addresses on a canvas. Every pixel is the mean colour of the bytes it stands for, so it tells the
// occupancy at any scale; where blocks are wide enough they are drawn one by one.
const $ = (id) => document.getElementById(id);
const D = JSON.parse($("data").textContent);
const LEAST_ROW = 13, MOST_ROW = 24, GROUP = 22, GUTTER = 118, LEAST_ROW_BYTES = 256, MOST_HEIGHT = 8e6, MOST_SMALL = 32768;
const hex = (n) => "0x" + n.toString(16);
const scroller = $("scroller"), map = $("map"), marks = $("marks"), tip = $("tip");

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (n >= 1024 && unit < 5) { n /= 1024; unit += 1; }
  return (unit === 0 || n >= 100 ? Math.floor(n) : n.toFixed(1)) + " " + units[unit];
}

// ---- data: stretches of items; an item is a hole, a block, a slab with slots, or a cell with sums.

const digit = new Int8Array(128);
[..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"].forEach((c, i) => { digit[c.charCodeAt(0)] = i; });
const bit = (text, slot) => {
  const at = Math.floor(slot / 6);
  return at < text.length && (digit[text.charCodeAt(at)] >> (slot % 6) & 1) === 1;
};
function ones(text) {
  let sum = 0;
  for (let i = 0; i < text.length; i++) {
    for (let bits = digit[text.charCodeAt(i)]; bits; bits &= bits - 1) sum += 1;
  }
  return sum;
}
function readSlab(text) {
  const [slot, slots, thread, live, cached] = text.split(".");
  return { slot: +slot, slots: +slots, thread: +thread, live, cached, nLive: ones(live), nCached: ones(cached) };
}
// The number of a thread and the bytes of a slot are 0 where most live bytes lie outside of slabs.
function readCell(text) {
  const [live, cached, free, hole, slot, thread] = text.split(".").map((n) => (n ? parseInt(n, 36) : 0));
  return { sums: [live || 0, cached || 0, free || 0, hole || 0], slot: slot || 0, thread: thread || 0 };
}
let nextSlab = 0;
const stretches = D.stretches.map(([start, end, text]) => {
  const starts = [], kinds = [], more = [];
  let at = start;
  if (D.cell) {
    at = start - start % D.cell;
    let last = "";
    for (const cell of text.split(",")) {
      last = cell === "=" ? last : cell;
      starts.push(at); kinds.push("c"); more.push(readCell(last));
      at += D.cell;
    }
  } else {
    for (const part of text.matchAll(/([a-z])([0-9A-Z]+)/g)) {
      const size = parseInt(part[2], 36);
      starts.push(at); kinds.push(part[1]);
      more.push(part[1] === "s" ? readSlab(D.slabs[nextSlab++]) : null);
      at += size;
    }
  }
  starts.push(at);
  return { start, end, starts, kinds, more, who: new Map() };
});
const threadNames = new Map(D.threads.map((t) => [t[0], t]));
const threadText = (n) => {
  const t = threadNames.get(n);
  return n === 0 ? "" : `thread ${n}` + (t && t[1] ? ` "${t[1]}"` : "") + (t ? ` (${t[2]})` : "");
};

// The profile, if there is one: sites.js and flame.js show it. Without one nothing of it is on the page.
const P = D.profile || null;
if (!P) for (const part of document.querySelectorAll(".profile")) part.remove();

// ---- colours: Okabe and Ito's, and a part of viridis for sizes, which are told apart by lightness, too.

const rgb = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
const SIZES = ["#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39"].map(rgb);
const THREADS = ["#0072b2", "#e69f00", "#009e73", "#56b4e9", "#d55e00", "#f0e442", "#8a6d3b"].map(rgb);
const LARGE = rgb("#d55e00"), SMALL = rgb("#0072b2"), OTHER = rgb("#8b949e");
let theme = {};
function readTheme() {
  const style = getComputedStyle(document.documentElement);
  theme = Object.fromEntries(
    ["paper", "ink", "faint", "hole", "clean", "free", "cached", "mark", "unknown", "others"].map(
    (name) => [name, style.getPropertyValue("--" + name).trim()]));
  for (const name of ["hole", "clean", "free", "cached", "paper", "unknown", "others"])
    theme[name + "Rgb"] = rgb(theme[name]);
}
let mode = "class";
function sizeColour(slot) {
  const at = Math.min(Math.max(Math.log2(slot) - 3, 0), 12) / 12 * (SIZES.length - 1);
  const low = Math.min(Math.floor(at), SIZES.length - 2), part = at - low;
  return SIZES[low].map((c, i) => Math.round(c + (SIZES[low + 1][i] - c) * part));
}
const slotColours = new Map();
function liveColour(slot, thread, who) {
  if (mode === "site") return pale(who);
  if (slot > MOST_SMALL && mode !== "thread") return LARGE;
  if (mode === "kind") return slot ? SMALL : LARGE;
  if (mode === "thread") return thread ? THREADS[(thread - 1) % THREADS.length] : OTHER;
  if (!slot) return LARGE;
  if (!slotColours.has(slot)) slotColours.set(slot, sizeColour(slot));
  return slotColours.get(slot);
}
function stateColour(kind, who) {
  const block = mode === "site" && who ? ownColour(who.own) : liveColour(0, 0, null);
  return { h: theme.holeRgb, e: theme.cleanRgb, b: block, u: theme.freeRgb }[kind];
}

// ---- layout: which address is where.

let ROW = LEAST_ROW, BAR = ROW - 2;
let rowBytes = 0, rows = [], height = 0, width = 0;
const total = stretches.reduce((sum, s) => sum + (s.end - s.start), 0);
const heightFor = (size) => stretches.reduce(
  (sum, s) => sum + GROUP + (Math.floor((s.end - 1) / size) - Math.floor(s.start / size) + 1) * ROW, 0);
function layout(size) {
  const least = D.cell ? D.cell * 8 : LEAST_ROW_BYTES;
  size = Math.max(size, least);
  while (heightFor(size) > MOST_HEIGHT) size *= 2;
  rowBytes = size;
  const lines = (heightFor(size) - GROUP * stretches.length) / ROW;
  const room = Math.floor((scroller.clientHeight - GROUP * stretches.length - 6) / lines);
  ROW = Math.min(Math.max(room, LEAST_ROW), MOST_ROW);
  BAR = ROW - 2;
  let y = 0;
  rows = stretches.map((s) => {
    const first = Math.floor(s.start / size), count = Math.floor((s.end - 1) / size) - first + 1;
    const place = { s, y, first, count };
    y += GROUP + count * ROW;
    return place;
  });
  height = y + 6;
  $("spacer").style.height = Math.max(height, scroller.clientHeight) + "px";
  $("scale").textContent = bytes(rowBytes) + " a row";
}
function fit() {
  ROW = LEAST_ROW;
  let size = LEAST_ROW_BYTES;
  while (heightFor(size) > scroller.clientHeight && size < 2 ** 50) size *= 2;
  layout(size);
  scroller.scrollTop = 0;
  draw();
}
function addressAt(x, y) {
  const group = rows.findLast((r) => y >= r.y);
  if (!group || y < group.y + GROUP || x < GUTTER || x >= width) return null;
  const row = Math.floor((y - group.y - GROUP) / ROW);
  const address = Math.floor((group.first + row + (x - GUTTER) / (width - GUTTER)) * rowBytes);
  const isInside = row < group.count && address >= group.s.start && address < group.s.end;
  return isInside ? { address, group } : null;
}
const yOf = (group, address) => group.y + GROUP + (Math.floor(address / rowBytes) - group.first) * ROW;
const xOf = (offset) => GUTTER + offset / rowBytes * (width - GUTTER);

// ---- drawing

function itemAt(s, address) {
  let low = 0, high = s.kinds.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (s.starts[middle + 1] <= address) low = middle + 1; else high = middle;
  }
  return low;
}
// Adds a run of bytes of one colour to a row of pixels. A block that is three pixels wide ends with a fainter one.
function paint(sums, from, to, colour, perPixel, isBlock) {
  const a = Math.max(from, 0) / perPixel, b = Math.min(to / perPixel, sums.length / 4);
  const isWide = isBlock && (to - from) / perPixel >= 3;
  for (let x = Math.floor(a); x < b; x++) {
    const part = Math.min(x + 1, b) - Math.max(x, a);
    const fade = isWide && x + 1 >= to / perPixel - 0.01 ? 0.45 : 0;
    sums[4 * x + 3] += part;
    for (let c = 0; c < 3; c++) sums[4 * x + c] += part * (colour[c] + (theme.paperRgb[c] - colour[c]) * fade);
  }
}
// What a slab or a cell is on the whole, for where it is too small to be drawn in detail.
function meanColour(kind, item, size, who) {
  let live = liveColour(item.slot, item.thread, who);
  const [nLive, nCached, nFree, nHole] = kind === "c" ? item.sums
    : [item.nLive * item.slot, item.nCached * item.slot, size - (item.nLive + item.nCached) * item.slot, 0];
  if (mode === "site" && who && who.own >= 0) {
    live = mix(live, ownColour(who.own), kind === "c" ? 1 : Math.min(who.bytes / Math.max(nLive, 1), 1));
  }
  const rest = Math.max(size - nLive - nCached - nFree - nHole, 0);
  return [0, 1, 2].map((c) => (live[c] * nLive + theme.cachedRgb[c] * nCached + theme.freeRgb[c] * nFree
    + theme.holeRgb[c] * nHole + theme.cleanRgb[c] * rest) / size);
}
function paintSlab(sums, item, offset, size, perPixel, who) {
  const live = liveColour(item.slot, item.thread, who);
  const first = Math.max(0, Math.floor(-offset / item.slot));
  const last = Math.min(item.slots, Math.ceil((sums.length / 4 * perPixel - offset) / item.slot));
  for (let slot = first; slot < last; slot++) {
    const isLive = bit(item.live, slot), at = offset + slot * item.slot;
    const sample = mode === "site" && who && who.slots.get(slot);
    const colour = sample ? ownColour(ownOf(sample.site)) : isLive ? live
      : bit(item.cached, slot) ? theme.cachedRgb : theme.freeRgb;
    paint(sums, at, at + item.slot, colour, perPixel, isLive);
  }
  paint(sums, offset + item.slots * item.slot, offset + size, theme.freeRgb, perPixel, false);
}
function rowPixels(s, from, pixels) {
  const sums = new Float32Array(pixels * 4), perPixel = rowBytes / pixels;
  for (let i = itemAt(s, Math.max(from, s.start)); i < s.kinds.length && s.starts[i] < from + rowBytes; i++) {
    const kind = s.kinds[i], item = s.more[i], offset = s.starts[i] - from, size = s.starts[i + 1] - s.starts[i];
    const who = s.who.get(i);
    if (kind === "s" && size / perPixel >= 6) paintSlab(sums, item, offset, size, perPixel, who);
    else if (item) paint(sums, offset, offset + size, meanColour(kind, item, size, who), perPixel, false);
    else paint(sums, offset, offset + size, stateColour(kind, who), perPixel, kind === "b");
  }
  return sums;
}
function drawRow(context, s, from, y, pixels, ratio) {
  const sums = rowPixels(s, from, pixels), bar = Math.round(BAR * ratio);
  const image = context.createImageData(pixels, bar);
  for (let x = 0; x < pixels; x++) {
    const weight = sums[4 * x + 3];
    if (weight <= 0) continue;
    for (let c = 0; c < 3; c++) image.data[4 * x + c] = sums[4 * x + c] / weight;
    image.data[4 * x + 3] = 255;
  }
  for (let line = 1; line < bar; line++) image.data.copyWithin(line * pixels * 4, 0, pixels * 4);
  context.putImageData(image, Math.round(GUTTER * ratio), Math.round(y * ratio));
}
function draw() {
  const ratio = window.devicePixelRatio || 1, tall = scroller.clientHeight;
  width = scroller.clientWidth;
  for (const canvas of [map, marks]) {
    canvas.width = Math.round(width * ratio); canvas.height = Math.round(tall * ratio);
    canvas.style.width = width + "px"; canvas.style.height = tall + "px";
  }
  marks.style.marginTop = -tall + "px";
  const context = map.getContext("2d"), pixels = Math.round((width - GUTTER - 4) * ratio), top = scroller.scrollTop;
  for (const group of rows) {
    if (group.y > top + tall || group.y + GROUP + group.count * ROW < top) continue;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = theme.ink;
    context.font = "11px ui-monospace, monospace";
    context.fillText(`${hex(group.s.start)} to ${hex(group.s.end)}, ${bytes(group.s.end - group.s.start)}`, 6, group.y - top + 15);
    const first = Math.max(0, Math.floor((top - group.y - GROUP) / ROW));
    const last = Math.min(group.count, Math.ceil((top + tall - group.y - GROUP) / ROW));
    for (let row = first; row < last; row++) {
      const from = (group.first + row) * rowBytes, y = group.y + GROUP + row * ROW - top;
      context.fillStyle = theme.faint;
      context.font = "10px ui-monospace, monospace";
      context.fillText(hex(from), 6, y + BAR / 2 + 4);
      drawRow(context, group.s, from, y, pixels, ratio);
    }
  }
  width -= 4;
  drawMarks();
}

// ---- what is where, in words

// With who allocated it, where a profile knows.
const named = (shown, who, slot) => (P ? withSample(shown, who, slot) : shown);
function describe(group, address) {
  const s = group.s, i = itemAt(s, address), kind = s.kinds[i], item = s.more[i], who = s.who.get(i);
  const start = s.starts[i], size = s.starts[i + 1] - start;
  const whole = (text) => ({ start, size, text: `${text}\n${hex(start)}, ${size} bytes (${bytes(size)})` });
  if (kind === "h") return whole("hole");
  if (kind === "e") return whole("hole, its pages given back");
  if (kind === "b") return named(whole("live block of the free list"), who, 0);
  if (kind === "u") return whole("changing while the snapshot was taken");
  if (kind === "c") {
    const [live, cached, free, hole] = item.sums.map(bytes);
    const most = item.slot ? `mostly slots of ${item.slot} bytes, ${threadText(item.thread)}` : "mostly not in slabs";
    return whole(`${live} live, ${cached} cached, ${free} free slots, ${hole} holes` + (item.sums[0] ? `\n${most}` : "")
      + (who && who.own >= 0 ? `\nof its samples ${P.names[who.own]} has the most bytes` : ""));
  }
  const slot = Math.floor((address - start) / item.slot);
  const slab = `in a slab at ${hex(start)}: ${item.nLive} of ${item.slots} live, ${item.nCached} cached`;
  if (slot >= item.slots) {
    const at = start + item.slots * item.slot;
    return { start: at, size: start + size - at, text: `tail behind the last slot\n${slab}` };
  }
  const state = bit(item.live, slot) ? "live block" : bit(item.cached, slot) ? "free slot, in a thread's cache" : "free slot";
  const at = start + slot * item.slot;
  const text = `${state}\n${hex(at)}, class of ${item.slot} bytes, ${threadText(item.thread)}`
    + (item.slots > 1 ? `\n${slab}` : "\na slab of its own");
  return named({ start: at, size: item.slot, text }, who, slot);
}
let kept = null, pointed = null, lit = null;
function outline(context, shown, colour) {
  const group = rows.find((r) => r.s === shown.s);
  const end = shown.start + shown.size, top = scroller.scrollTop, tall = scroller.clientHeight;
  let row = Math.max(Math.floor(shown.start / rowBytes), group.first + Math.floor((top - group.y - GROUP) / ROW));
  context.strokeStyle = colour;
  context.lineWidth = 2;
  for (; row * rowBytes < end; row++) {
    const y = yOf(group, row * rowBytes) - top;
    if (y > tall) break;
    const a = Math.max(shown.start - row * rowBytes, 0), b = Math.min(end - row * rowBytes, rowBytes);
    context.strokeRect(xOf(a) - 1, y - 1, Math.max(xOf(b) - xOf(a), 1) + 2, BAR + 2);
  }
}
function drawMarks() {
  const context = marks.getContext("2d"), ratio = window.devicePixelRatio || 1;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, marks.width, marks.height);
  if (lit) drawLit(context);
  if (pointed) outline(context, pointed, theme.faint);
  if (kept) outline(context, kept, theme.mark);
}
function lookUp(address) {
  const group = rows.find((r) => address >= r.s.start && address < r.s.end);
  return group ? { ...describe(group, address), s: group.s } : null;
}
function keep(address) {
  kept = lookUp(address);
  $("found").textContent = kept ? kept.text.replaceAll("\n", "; ") : `${hex(address)} was not memory of this heap`;
  if (P && kept && kept.site >= 0) markPath(P.sites[kept.site][0]);
  drawMarks();
}
function goTo(address) {
  keep(address);
  if (!kept) return;
  // A block that would be a hair is shown larger.
  while (kept.size / rowBytes * (width - GUTTER) < 2 && rowBytes > LEAST_ROW_BYTES && !D.cell) layout(rowBytes / 2);
  const group = rows.find((r) => r.s === kept.s);
  scroller.scrollTop = Math.max(0, yOf(group, address) - scroller.clientHeight / 2);
  draw();
}
function zoom(factor, at) {
  const centre = at || addressAt(width / 2, scroller.scrollTop + scroller.clientHeight / 2);
  const before = centre && yOf(centre.group, centre.address) - scroller.scrollTop;
  layout(rowBytes * factor);
  if (centre) {
    const group = rows.find((r) => r.s === centre.group.s);
    scroller.scrollTop = Math.max(0, yOf(group, centre.address) - before);
  }
  draw();
}

// ---- controls

function legend() {
  const entry = (colour, text) => {
    const span = document.createElement("span"), patch = document.createElement("i");
    patch.style.background = typeof colour === "string" ? colour : `rgb(${colour})`;
    span.append(patch, text);
    return span;
  };
  const live = { class: () => [8, 64, 512, 4096, 32768].map((slot) => entry(sizeColour(slot), `slots of ${bytes(slot)}`))
      .concat(entry(LARGE, "larger block")),
    kind: () => [entry(SMALL, "block up to 32 KiB"), entry(LARGE, "larger block")],
    thread: () => D.threads.filter((t) => t[3]).slice(0, 16).map((t) => entry(liveColour(1, t[0]), threadText(t[0])))
      .concat(entry(OTHER, "of no thread")),
    site: () => [...ranks].map(([own, rank]) => entry(SITES[rank], shortName(P.names[own])))
      .concat(entry(theme.others, "other functions"), entry(theme.unknown, "live, no sample near")) }[mode]();
  $("legend").replaceChildren(...live, entry(theme.cached, "free slot in a cache"), entry(theme.free, "free slot"),
    entry(theme.hole, "hole"), entry(theme.clean, "hole, given back"));
}
function point(event) {
  const box = map.getBoundingClientRect();
  return addressAt(event.clientX - box.left, event.clientY - box.top + scroller.scrollTop);
}
function showTip(event, text) {
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  tip.style.left = Math.max(Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8), 4) + "px";
  tip.style.top = (event.clientY + 22 + tip.offsetHeight > window.innerHeight
    ? event.clientY - tip.offsetHeight - 10 : event.clientY + 16) + "px";
}
map.addEventListener("mousemove", (event) => {
  const at = point(event);
  pointed = at && { ...describe(at.group, at.address), s: at.group.s };
  showTip(event, pointed && pointed.text);
  drawMarks();
});
map.addEventListener("mouseleave", () => { tip.hidden = true; pointed = null; drawMarks(); });
map.addEventListener("click", (event) => { const at = point(event); if (at) keep(at.address); });
map.addEventListener("dblclick", (event) => zoom(1 / 8, point(event)));
scroller.addEventListener("wheel", (event) => {
  if (!event.ctrlKey) return;
  event.preventDefault();
  zoom(event.deltaY > 0 ? 2 : 1 / 2, point(event));
}, { passive: false });
scroller.addEventListener("scroll", draw);
document.addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey) return;
  if (event.key === "+") zoom(1 / 2);
  else if (event.key === "-") zoom(2);
  else if (event.key === "0") fit();
});
$("in").addEventListener("click", () => zoom(1 / 2));
$("out").addEventListener("click", () => zoom(2));
$("fit").addEventListener("click", fit);
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("address").value.trim();
  const address = Number(/^[0-9]+$/.test(text) || /^0x/i.test(text) ? text : "0x" + text);
  if (Number.isSafeInteger(address)) goTo(address);
  else $("found").textContent = `"${text}" is no address`;
});
for (const input of document.querySelectorAll("input[name=mode]")) {
  input.addEventListener("change", () => { mode = input.value; legend(); draw(); });
}
window.addEventListener("resize", () => { layout(rowBytes); draw(); });
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readTheme(); legend(); draw(); });
// Called when all scripts are read.
function start() {
  readTheme();
  if (P) startProfile();
  legend();
  fit();
  if (location.hash.startsWith("#0x")) goTo(Number(location.hash.slice(1)));
}
