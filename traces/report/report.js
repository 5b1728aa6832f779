// report.js: draws the page of `gomem report` from the JSON in #data, which is what `gomem stat --json` prints.
//
// An element that shows a figure of the JSON carries data-key (the path of the figure) and data-value (as it is there), so that a test can hold
// the page against the JSON.
"use strict";
(() => {
const D = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const recording = D.kind === "recording";
const PAGE = 8192, GUTTER = 74, RIGHT = 10;

// ---- words and numbers

const fixed = (v, digits) => {
	const text = v.toFixed(digits);
	return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
};
function bytes(n) {
	if (n < 1024) return Math.round(n) + " B";
	const units = ["KiB", "MiB", "GiB", "TiB"];
	let v = n / 1024, u = 0;
	for (; v >= 1023.95 && u < 3; u++) v /= 1024;
	return v.toFixed(1) + " " + units[u];
}
const count = n => Math.round(n).toLocaleString("en-US");
const percent = (part, whole) => whole > 0 ? 100 * part / whole : 0;
const share = (part, whole) => fixed(percent(part, whole), percent(part, whole) < 10 ? 1 : 0) + " %";
function short(n) {
	if (n >= 1e6) return fixed(n / 1e6, 2) + "\u00a0M";
	return n >= 1e4 ? fixed(n / 1e3, 0) + "\u00a0k" : count(n);
}
const moment = at => recording ? "event\u00a0" + short(at) : fixed(at / 1e9, D.length < 2e9 ? 3 : 2) + "\u00a0s";

function el(tag, props, ...children) {
	const e = document.createElement(tag);
	for (const [k, v] of Object.entries(props || {})) {
		if (k === "style") e.style.cssText = v;
		else if (k in e && k !== "colSpan") e[k] = v;
		else e.setAttribute(k, v);
	}
	e.append(...children);
	return e;
}
const fill = (id, ...children) => $(id).replaceChildren(...children);
// figure: an element that says where in the JSON its figure stands.
function figure(tag, key, value, text, props) {
	return el(tag, {"data-key": key, "data-value": String(value), ...props}, text);
}
const path = key => key.split(".").reduce((o, k) => o[k], D);
const tile = (key, label, how, extra) =>
	el("div", {className: "tile"}, figure("b", key, path(key), how(path(key))), el("span", {}, label + (extra || "")));
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const swatch = (color, label) => el("span", {}, el("i", {style: "background:" + color}), label);

// ---- head

function head() {
	const name = recording && D.program ? D.program : D.file;
	document.title = "Heap of " + name.slice(0, 80);
	$("title").textContent = name.length > 90 ? name.slice(0, 88).replace(/\s+\S*$/, "") + " \u2026" : name;
	const facts = [recording ? "recording " + D.file : "trace of stock Go", D.go];
	if (D.gomaxprocs) facts.push("GOMAXPROCS " + D.gomaxprocs);
	facts.push(count(D.events) + " events");
	if (!recording) facts.push(fixed(D.length / 1e9, 3) + " s");
	$("about").textContent = facts.join(" \u00b7 ");
	if (D.salvaged) {
		$("note").textContent = "Of a damaged file this is what could be read: " + D.salvaged;
		$("note").hidden = false;
	}
	const p = D.peak;
	fill("tiles",
		tile("peak.span_bytes", "in heap spans at the peak, " + moment(p.at), bytes),
		tile("peak.used_bytes", "in slots taken, " + share(p.used_bytes, p.span_bytes), bytes),
		tile("peak.free_bytes", "in free slots, " + share(p.free_bytes, p.span_bytes), bytes),
		recording ? tile("peak.waste_bytes", "in slots, not asked for", bytes) : tile("peak.tail_bytes", "ends of spans without a slot", bytes),
		tile("peak.manual_bytes", "stack and work buffer spans", bytes),
		tile("totals.taken_bytes", "allocated, in " + short(D.totals.taken) + " slots", bytes),
		tile("totals.cycles", "GC cycles", count),
		tile("totals.alive_bytes", "still in slots at the end", bytes));
	fill("findings", ...D.findings.map((f, i) => el("li", {},
		figure("div", "findings." + i + ".bytes", f.bytes, bytes(f.bytes), {className: "weight"}), el("div", {}, f.text))));
	if (!D.findings.length) fill("findings", el("li", {}, el("div"), "Nothing: spans are full, pages are packed."));
	$("foot").textContent = recording ? "A recording holds the size that was asked for of each object, but no types and no clock: the axis counts its events." :
		"A trace holds types and a clock, but of a size only the slot that served it.";
}

// ---- the map

// Empty spans glow, full ones are calm.
const STOPS = [[255, 205, 56], [248, 140, 72], [217, 87, 126], [155, 79, 168], [91, 79, 184], [39, 71, 168]];
const DARK = [[255, 214, 84], [250, 148, 80], [226, 98, 136], [172, 96, 188], [116, 104, 214], [84, 122, 232]];
let printing = false;
const dark = () => !printing && matchMedia("(prefers-color-scheme: dark)").matches;
function ramp(t) {
	const stops = dark() ? DARK : STOPS;
	// Most of a heap is nearly full: there the colours change fastest.
	const x = Math.pow(Math.max(0, Math.min(1, t)), 1.8) * (stops.length - 1), i = Math.min(stops.length - 2, Math.floor(x));
	return stops[i].map((v, k) => Math.round(v + (stops[i + 1][k] - v) * (x - i)));
}
const rgb = c => "rgb(" + c.join(",") + ")";

// unpack: base64 of pairs of bytes: how often, and the value.
function unpack(text, n) {
	const coded = atob(text), cells = new Uint8Array(n);
	let at = 0;
	for (let i = 0; i + 1 < coded.length; i += 2) {
		const run = coded.charCodeAt(i);
		cells.fill(coded.charCodeAt(i + 1), at, at + run);
		at += run;
	}
	return cells;
}
const M = D.map, cells = M.columns * M.rows;
const planes = {spans: unpack(M.spans, cells), used: unpack(M.used, cells), manual: unpack(M.manual, cells)};
const at = D.series.at;
const peakColumn = at.reduce((best, v, i) => Math.abs(v - D.peak.at) <= Math.abs(at[best] - D.peak.at) ? i : best, 0);
let chosen = peakColumn, hover = null;

// edges: where on the axis column i begins and ends.
const start = i => D.length * i / M.columns;
const columnAt = x => Math.max(0, Math.min(M.columns - 1, Math.floor(x / D.length * M.columns)));

function mapImage() {
	const canvas = el("canvas", {width: M.columns, height: Math.max(1, M.rows)});
	const ctx = canvas.getContext("2d"), image = ctx.createImageData(canvas.width, canvas.height);
	const table = Array.from({length: 101}, (_, i) => ramp(i / 100));
	const grey = dark() ? [104, 114, 130] : [150, 160, 175];
	for (let row = 0; row < M.rows; row++) {
		for (let col = 0; col < M.columns; col++) {
			const cell = row * M.columns + col, spans = planes.spans[cell], manual = planes.manual[cell];
			if (spans + manual === 0) continue;
			const heap = spans > 0 ? table[Math.round(100 * Math.min(1, planes.used[cell] / spans))] : grey;
			const part = spans / (spans + manual), to = ((M.rows - 1 - row) * M.columns + col) * 4;
			for (let k = 0; k < 3; k++) image.data[to + k] = heap[k] * part + grey[k] * (1 - part);
			image.data[to + 3] = 255 * (0.2 + 0.8 * Math.min(1, (spans + manual) / M.full));
		}
	}
	ctx.putImageData(image, 0, 0);
	return canvas;
}
let picture = mapImage();

const geometry = {};
function niceStep(range, most) {
	let step = 1;
	while (range / step > most) step *= 2;
	return step;
}
function timeSteps(most) {
	const unit = D.length / most;
	const power = Math.pow(10, Math.floor(Math.log10(unit)));
	return [1, 2, 5, 10].map(k => k * power).find(s => s >= unit);
}

function drawAxes(ctx, g) {
	const total = M.rows * M.row_bytes, step = niceStep(total, g.h / 46);
	ctx.fillStyle = css("--soft");
	ctx.strokeStyle = css("--line");
	ctx.textAlign = "right";
	ctx.textBaseline = "middle";
	for (let v = 0; v <= total; v += step) {
		const y = g.y + g.h - v / total * g.h;
		ctx.fillText(v === 0 ? "0" : fixed(v / (step >= 1 << 30 ? 1 << 30 : step >= 1 << 20 ? 1 << 20 : 1024), 1) +
			(step >= 1 << 30 ? " GiB" : step >= 1 << 20 ? " MiB" : " KiB"), g.x - 8, Math.max(g.y + 5, y));
		ctx.beginPath();
		ctx.moveTo(g.x - 4, y);
		ctx.lineTo(g.x, y);
		ctx.stroke();
	}
	ctx.strokeRect(g.x - 0.5, g.y - 0.5, g.w + 1, g.h + 1);
}

// Where the address range has a gap.
function drawGaps(ctx, g) {
	const total = M.rows * M.row_bytes;
	ctx.strokeStyle = css("--soft");
	ctx.setLineDash([4, 3]);
	for (const e of M.extents.slice(1)) {
		const y = Math.round(g.y + g.h - e.offset / total * g.h) + 0.5;
		ctx.beginPath();
		ctx.moveTo(g.x, y);
		ctx.lineTo(g.x + g.w, y);
		ctx.stroke();
	}
	ctx.setLineDash([]);
}

// GC cycles: marking as a bar above the map, and a line down through it while there are few.
function drawCycles(ctx, g) {
	ctx.fillStyle = css("--gc");
	for (const c of D.gc) {
		const x = g.x + c.begin / D.length * g.w, w = Math.max(1.5, (c.end - c.begin) / D.length * g.w);
		ctx.fillRect(x, g.y - 8, Math.min(w, g.x + g.w - x), 6);
		if (D.gc.length <= g.w / 8) {
			ctx.globalAlpha = 0.35;
			ctx.fillRect(x, g.y, 1, g.h);
			ctx.globalAlpha = 1;
		}
	}
}

function drawMoment(ctx, g) {
	const x = Math.round(g.x + at[chosen] / D.length * g.w) + 0.5;
	ctx.strokeStyle = css("--ink");
	ctx.lineWidth = 1.5;
	ctx.beginPath();
	ctx.moveTo(x, g.y - 10);
	ctx.lineTo(x, g.y + g.h);
	ctx.stroke();
	ctx.lineWidth = 1;
	if (hover) {
		const cw = g.w / M.columns, rh = g.h / M.rows;
		ctx.strokeRect(g.x + hover.col * cw - 1, g.y + g.h - (hover.row + 1) * rh - 1, Math.max(4, cw + 2), Math.max(4, rh + 2));
	}
}

function drawMap() {
	const canvas = $("map"), width = $("map-box").clientWidth, height = printing ? 260 : width < 600 ? 300 : 460, scale = devicePixelRatio || 1;
	const want = [Math.round(width * scale), Math.round(height * scale)];
	if (canvas.width !== want[0] || canvas.height !== want[1]) [canvas.width, canvas.height] = want;
	canvas.style.height = height + "px";
	const g = Object.assign(geometry, {x: GUTTER, y: 12, w: width - GUTTER - RIGHT, h: height - 16});
	const ctx = canvas.getContext("2d");
	ctx.setTransform(scale, 0, 0, scale, 0, 0);
	ctx.clearRect(0, 0, width, height);
	ctx.font = "12px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";
	ctx.imageSmoothingEnabled = picture.width > g.w * scale || picture.height > g.h * scale;
	ctx.imageSmoothingQuality = "high";
	if (M.rows > 0) ctx.drawImage(picture, g.x, g.y, g.w, g.h);
	drawAxes(ctx, g);
	drawGaps(ctx, g);
	drawCycles(ctx, g);
	drawMoment(ctx, g);
}

function addressOf(offset) {
	const e = [...M.extents].reverse().find(one => one.offset <= offset) || M.extents[0];
	return "0x" + (BigInt(e.base) + BigInt(offset - e.offset)).toString(16);
}

function tipText(col, row) {
	const cell = row * M.columns + col, spans = planes.spans[cell] / M.full, used = planes.used[cell] / M.full, manual = planes.manual[cell] / M.full;
	const lines = [el("b", {}, addressOf(row * M.row_bytes)), " + " + bytes(M.row_bytes) + ", " + moment(at[col])];
	if (spans + manual === 0) return [...lines, el("br"), "no span"];
	lines.push(el("br"), spans > 0 ? share(used, spans) + " of the heap spans' bytes taken" : "no heap span");
	lines.push(el("br"), share(spans, 1) + " heap spans, " + share(manual, 1) + " stacks or work buffers");
	return lines;
}

function pointed(e) {
	const box = $("map").getBoundingClientRect(), g = geometry;
	const x = (e.clientX - box.left - g.x) / g.w, y = (e.clientY - box.top - g.y) / g.h;
	if (x < 0 || x >= 1 || y < 0 || y >= 1 || M.rows === 0) return null;
	return {col: columnAt(x * D.length), row: Math.min(M.rows - 1, Math.floor((1 - y) * M.rows)), px: e.clientX - box.left, py: e.clientY - box.top};
}

function onHover(e) {
	hover = pointed(e);
	const tip = $("tip");
	tip.hidden = !hover;
	if (hover) {
		tip.replaceChildren(...tipText(hover.col, hover.row));
		const width = tip.offsetWidth, room = $("map-box").clientWidth;
		tip.style.left = Math.max(0, Math.min(room - width, hover.px + 14)) + "px";
		tip.style.top = (hover.py > 90 ? hover.py - tip.offsetHeight - 12 : hover.py + 16) + "px";
	}
	drawMap();
}

function mapEvents() {
	const map = $("map");
	map.addEventListener("pointermove", onHover);
	map.addEventListener("pointerleave", () => { hover = null; $("tip").hidden = true; drawMap(); });
	map.addEventListener("click", e => { const p = pointed(e); if (p) choose(p.col); });
	map.addEventListener("keydown", e => {
		const step = {ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20}[e.key];
		if (step) { e.preventDefault(); choose(Math.max(0, Math.min(at.length - 1, chosen + step))); }
	});
}

function mapLegend() {
	const stops = Array.from({length: 11}, (_, i) => rgb(ramp(i / 10)) + " " + i * 10 + "%").join(",");
	fill("map-legend",
		el("span", {}, "empty", el("i", {className: "ramp", style: "background:linear-gradient(90deg," + stops + ");width:150px", title: "0 to 100 % of the slots"}), "all slots taken"),
		swatch(dark() ? "rgb(104,114,130)" : "rgb(150,160,175)", "stacks, work buffers"),
		el("span", {}, el("i", {style: "border:1px solid var(--line)"}), "no span"),
		el("span", {}, el("i", {className: "gc", style: "background:var(--gc)"}), "GC marking"),
		el("span", {}, "a row is " + bytes(M.row_bytes)));
}

// ---- charts

const charts = [];
const xLabel = v => recording ? short(v) : fixed(v / 1e9, 3);
const POWERS = Array.from({length: 44}, (_, i) => Math.pow(2, i));
function axes(label) {
	const common = {stroke: () => css("--soft"), font: "12px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif",
		grid: {stroke: () => css("--line"), width: 1}, ticks: {stroke: () => css("--line"), width: 1, size: 4}};
	return [
		{...common, grid: {show: false}, values: (u, list) => list.map(xLabel), label: recording ? "events of the recording" : "seconds", labelSize: 18,
			labelFont: common.font, size: 28, space: 60, labelGap: 0},
		{...common, values: (u, list) => list.map(v => v === 0 ? "0" : label(v).replace(".0 ", " ")), size: GUTTER, incrs: POWERS, space: 34, gap: 4},
	];
}
// chart: series of [values, colour name, fill or not, stepped or not] over the samples, on the same axis as the map.
function chart(id, list, height, label, draw) {
	const box = $(id);
	const series = list.map(s => ({stroke: () => css(s.color), width: s.width || 1.75, fill: s.fill ? () => css(s.color) + "22" : undefined,
		points: {show: false}, dash: s.dash}));
	const options = {
		width: box.clientWidth, height: height(), padding: [8, RIGHT, 0, 0], legend: {show: false},
		cursor: {drag: {setScale: false, x: false, y: false}, points: {size: 6}},
		scales: {x: {time: false, range: () => [0, D.length]}, y: {range: (u, lo, hi) => [0, hi > 0 ? hi * 1.06 : 1]}},
		axes: axes(label), series: [{}, ...series],
		hooks: {draw: [u => drawMarks(u)], setCursor: draw ? [draw] : []},
	};
	const u = new uPlot(options, [[0, ...at], ...list.map(s => [s.from || 0, ...s.values])], box);
	charts.push({u, box, height});
	u.over.addEventListener("click", () => { if (u.cursor.idx != null) choose(Math.max(0, u.cursor.idx - 1)); });
	return u;
}

function drawMarks(u) {
	const ctx = u.ctx, top = u.bbox.top, h = u.bbox.height, line = (v, color, width, alpha) => {
		ctx.globalAlpha = alpha;
		ctx.fillStyle = color;
		ctx.fillRect(Math.round(u.valToPos(v, "x", true)), top, width, h);
		ctx.globalAlpha = 1;
	};
	const scale = devicePixelRatio || 1;
	if (D.gc.length <= u.bbox.width / scale / 8) D.gc.forEach(c => line(c.begin, css("--gc"), scale, 0.35));
	line(at[chosen], css("--ink"), 1.5 * scale, 1);
}

function legendOf(id, list) {
	const items = list.map(s => {
		const value = el("b");
		const item = swatch(css(s.color), s.name);
		item.append(value);
		return {item, value, s};
	});
	fill(id, ...items.map(i => i.item));
	return column => items.forEach(i => { i.value.textContent = column == null ? "" : bytes(i.s.values[column]); });
}

function heapChart() {
	const s = D.series;
	const list = [
		{name: "heap spans", values: s.span_bytes, color: "--free", width: 2},
		{name: "slots taken", values: s.used_bytes, color: "--used", fill: true},
		{name: "stack and work buffer spans", values: s.manual_bytes, color: "--manual"},
		{name: "stacks in use", values: s.stack_bytes, color: "--green", dash: [4, 3]},
	];
	const say = legendOf("heap-legend", list);
	chart("heap-chart", list, () => innerWidth < 600 ? 190 : 230, bytes, u => say(u.cursor.idx > 0 ? u.cursor.idx - 1 : null));
}

function allocChart() {
	const s = D.series, t = D.totals;
	const list = [
		{name: "allocated so far", values: s.taken_bytes, color: "--used", fill: true},
		{name: "freed so far", values: s.freed_bytes, color: "--green"},
	];
	const say = legendOf("alloc-legend", list);
	chart("alloc-chart", list, () => innerWidth < 600 ? 160 : 190, bytes, u => say(u.cursor.idx > 0 ? u.cursor.idx - 1 : null));
	const lead = $("alloc-lead");
	lead.append(figure("span", "totals.taken", t.taken, count(t.taken)), " slots were taken, ", figure("span", "totals.freed", t.freed, count(t.freed)),
		" found dead. ", figure("span", "totals.tiny", t.tiny, count(t.tiny)), " tiny objects went into slots that were there.");
	if (t.at_start) {
		lead.append(" ", figure("span", "totals.at_start", t.at_start, count(t.at_start)), " of the slots (", figure("span", "totals.at_start_bytes",
			t.at_start_bytes, bytes(t.at_start_bytes)), ") were taken as the trace began.");
	}
}

// Each cycle from the least bytes in slots to the most, until the next began.
function gcChart() {
	const box = $("gc-chart");
	$("gc-lead").textContent = D.gc.length ? "Bytes in slots from each cycle's beginning to the next: the least (what sweeping left) to the most." : "No cycle began.";
	if (!D.gc.length) return;
	const canvas = el("canvas", {style: "display:block;width:100%;height:170px"});
	box.replaceChildren(canvas);
	const draw = () => {
		const w = box.clientWidth, h = 170, scale = devicePixelRatio || 1, left = GUTTER, most = Math.max(...D.gc.map(c => c.most_bytes), 1);
		canvas.width = w * scale;
		canvas.height = h * scale;
		const ctx = canvas.getContext("2d");
		ctx.scale(scale, scale);
		ctx.font = "12px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";
		const y = v => 8 + (h - 30) * (1 - v / most / 1.04), slot = (w - left - RIGHT) / D.gc.length;
		ctx.textAlign = "right";
		ctx.textBaseline = "middle";
		for (let v = 0, step = niceStep(most, 4); v <= most; v += step) {
			ctx.fillStyle = css("--line");
			ctx.fillRect(left, y(v), w - left - RIGHT, 1);
			ctx.fillStyle = css("--soft");
			ctx.fillText(v === 0 ? "0" : bytes(v).replace(".0 ", " "), left - 6, y(v));
		}
		const bar = Math.max(1, Math.min(16, slot * 0.7));
		D.gc.forEach((c, i) => {
			const x = left + slot * (i + 0.5) - bar / 2;
			ctx.fillStyle = css("--waste");
			ctx.fillRect(x, y(c.most_bytes), bar, Math.max(1, y(c.least_bytes) - y(c.most_bytes)));
			ctx.fillStyle = css("--used");
			ctx.fillRect(x, y(c.least_bytes), bar, Math.max(1, y(0) - y(c.least_bytes)));
		});
		ctx.fillStyle = css("--soft");
		ctx.textAlign = "center";
		const every = Math.max(1, Math.ceil(D.gc.length / Math.max(1, (w - left) / 36)));
		for (let i = 0; i < D.gc.length; i += every) ctx.fillText(String(i + 1), left + slot * (i + 0.5), h - 10);
	};
	draw();
	redraws.push(draw);
}

// ---- the chosen moment

const redraws = [];
// momentClasses: of a large class the spans' bytes are told, of a small one the spans, which are all alike.
function momentClasses(i) {
	return D.span_classes.map(c => {
		const spans = c.series.spans[i], used = c.series.used[i], slots = c.slots_per_span * spans;
		const all = c.size ? slots * c.size : c.series.span_bytes[i];
		return {name: c.name, slots, used, all, free: slots ? all * (slots - used) / slots : 0};
	}).filter(c => c.all > 0).sort((a, b) => b.all - a.all).slice(0, 12);
}
function choose(i) {
	chosen = i;
	$("moment-range").value = i;
	const s = D.series, now = key => s[key][i];
	const isPeak = i === peakColumn && at[i] === D.peak.at;
	$("moment-title").textContent = "At " + moment(at[i]) + (isPeak ? " (peak)" : "") + ", after " + count(s.cycles[i]) + " GC cycles";
	const small = (key, label, how) => el("div", {className: "tile"}, figure("b", "series." + key + "." + i, now(key), how(now(key))), el("span", {}, label));
	fill("moment-tiles", small("span_bytes", "in heap spans", bytes), small("used_bytes", "in slots taken", bytes), small("used", "slots taken", count),
		small("manual_bytes", "stack, work buffer spans", bytes), small("stacks", "stacks in use", count), small("taken_bytes", "allocated so far", bytes));
	const list = momentClasses(i);
	const most = Math.max(1, ...list.map(c => c.all));
	fill("moment-classes", ...list.flatMap(c => [
		el("span", {className: "name"}, c.name),
		bar([[c.all - c.free, "--used"], [c.free, "--free"]], most),
		el("span", {className: "value"}, bytes(c.all) + ", " + fixed(percent(c.used, c.slots), 0) + " % taken")]));
	if (geometry.w) drawMap();
	charts.forEach(c => c.u.redraw(false));
}
function bar(parts, most) {
	return el("span", {className: "bar"}, ...parts.filter(p => p[0] > 0).map(([v, color]) =>
		el("i", {style: "width:" + (100 * v / most) + "%;background:var(" + color + ")"})));
}

// ---- classes

let classView = "span_classes", classesShown = 20;
const classSort = {key: "span_bytes", down: true};
const classLabel = c => c.name || (c.size ? c.size + " B" : "large");
const CLASS_COLUMNS = [
	{key: "size", head: "class", of: c => c.size || 1e9, left: true},
	{key: "spans", head: "spans", of: c => c.peak.spans, show: count, wide: true},
	{key: "span_bytes", head: "bytes in spans", of: c => c.peak.span_bytes, bar: true, left: true},
	{key: "bytes", head: "", of: c => c.peak.span_bytes, show: bytes, figure: "span_bytes"},
	{key: "taken", head: "taken", of: c => percent(c.peak.used, c.peak.slots), show: v => fixed(v, 0) + " %"},
	{key: "fill", head: "spans by fill", fill: true, wide: true},
	{key: "free_bytes", head: "free slots", of: c => c.peak.free_bytes, show: bytes, figure: "free_bytes"},
	{key: "lonely", head: "one object", of: c => c.peak.lonely, show: count, wide: true},
	{key: "tail_bytes", head: "tails", of: c => c.peak.tail_bytes, show: bytes, wide: true, figure: "tail_bytes"},
	{key: "waste_bytes", head: "not asked", of: c => c.peak.waste_bytes, show: bytes, wide: true, figure: "waste_bytes", sizes: true},
	{key: "allocated", head: "allocated", of: c => c.taken_bytes, show: bytes, wide: true},
];

function fillBars(counts) {
	const most = Math.max(1, ...counts), all = counts.reduce((a, b) => a + b, 0);
	const names = i => i === 0 ? "empty" : i === counts.length - 1 ? "all taken" : "up to " + i * 10 + " % taken";
	return el("span", {className: "fill", title: counts.map((n, i) => n ? count(n) + " spans " + names(i) : "").filter(Boolean).join(", ")},
		...counts.map((n, i) => el("i", {style: n ? "height:" + Math.max(2, Math.round(16 * n / most)) + "px;background:" + rgb(ramp(i / (counts.length - 1))) : ""})),
		all === 0 ? "" : "");
}

function sortable(table, columns, sort, again) {
	return el("thead", {}, el("tr", {}, ...columns.map(c => {
		const th = el("th", {className: (c.left ? "left " : "") + (c.wide ? "wide" : "")});
		if (!c.of || !c.head) return th.append(c.head), th;
		if (sort.key === c.key) th.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
		th.append(el("button", {type: "button", onclick: () => {
			const down = sort.key === c.key ? !sort.down : c.key !== "size" && c.key !== "name";
			Object.assign(sort, {key: c.key, down});
			again();
		}}, c.head));
		return th;
	})));
}
function sorted(list, columns, sort) {
	const of = columns.find(c => c.key === sort.key).of, sign = sort.down ? -1 : 1;
	return [...list].sort((a, b) => { const x = of(a), y = of(b); return x < y ? -sign : x > y ? sign : 0; });
}

function classCell(c, column, index, most) {
	const cls = (column.left ? "left " : "") + (column.wide ? "wide" : "");
	if (column.key === "size") return el("td", {className: cls}, classLabel(c));
	if (column.fill) return el("td", {className: cls}, fillBars(c.peak.fill));
	if (column.bar) {
		const p = c.peak, parts = recording ? [[p.requested_bytes, "--used"], [p.waste_bytes, "--waste"]] : [[p.used_bytes, "--used"]];
		return el("td", {className: cls + " bar-cell"}, bar([...parts, [p.free_bytes, "--free"], [p.tail_bytes, "--tail"]], most));
	}
	const v = column.of(c);
	return column.figure ? figure("td", classView + "." + index + ".peak." + column.figure, v, column.show(v), {className: cls}) :
		el("td", {className: cls}, column.show(v));
}

function classes() {
	const columns = CLASS_COLUMNS.filter(c => !c.sizes || recording);
	const list = D[classView].map((c, index) => ({...c, index})).filter(c => c.peak.spans > 0);
	const most = Math.max(1, ...list.map(c => c.peak.span_bytes));
	$("classes").replaceChildren(sortable($("classes"), columns, classSort, classes),
		el("tbody", {}, ...sorted(list, columns, classSort).slice(0, classesShown).map(c => el("tr", {}, ...columns.map(k => classCell(c, k, c.index, most))))));
	const more = $("classes-more");
	more.hidden = list.length <= classesShown;
	more.textContent = "show all " + list.length;
	more.onclick = () => { classesShown = list.length; classes(); };
	fill("class-legend", swatch("var(--used)", recording ? "asked for" : "slots taken"), recording ? swatch("var(--waste)", "taken, not asked for") : "",
		swatch("var(--free)", "free slots"), swatch("var(--tail)", "tails: no slot fits, heap and mark bits"));
}

// ---- types

let typesShown = 15;
const typeSort = {key: "used_bytes", down: true};
const TYPE_COLUMNS = [
	{key: "name", head: "type", of: t => t.name, left: true},
	{key: "used_bytes", head: "bytes", of: t => t.used_bytes, show: bytes},
	{key: "bar", head: "", bar: true, left: true, wide: true},
	{key: "used", head: "slots", of: t => t.used, show: count},
	{key: "retained_slots", head: "retained slots", of: t => t.retained_slots, show: count},
	{key: "retained_bytes", head: "retained", of: t => t.retained_bytes, show: bytes, wide: true},
	{key: "taken", head: "allocated slots", of: t => t.taken, show: count, wide: true},
	{key: "taken_bytes", head: "allocated", of: t => t.taken_bytes, show: bytes, wide: true},
];
function types() {
	$("types-columns").hidden = !D.types.length;
	if (!D.types.length) {
		$("types-lead").textContent = "A recording holds no types. A trace that stock Go writes does: run the program with GODEBUG=traceallocfree=1 and runtime/trace.";
		return;
	}
	$("types-lead").textContent = "In slots at the peak, and ever allocated. Retained slots: the free slots of the spans that a type's objects keep from going, shared among the objects in each span.";
	const list = D.types.map((t, index) => ({...t, index})), most = Math.max(1, ...list.map(t => t.used_bytes));
	const row = t => el("tr", {}, ...TYPE_COLUMNS.map(c => {
		const cls = (c.left ? "left " : "") + (c.wide ? "wide " : "");
		if (c.key === "name") return el("td", {className: cls + "type", title: t.name}, t.name);
		if (c.bar) return el("td", {className: cls + "bar-cell", style: "width:14%"}, bar([[t.used_bytes, "--used"]], most));
		return figure("td", "types." + t.index + "." + c.key, c.of(t), c.show(c.of(t)), {className: cls});
	}));
	$("types").replaceChildren(sortable($("types"), TYPE_COLUMNS, typeSort, types),
		el("tbody", {}, ...sorted(list, TYPE_COLUMNS, typeSort).slice(0, typesShown).map(row)));
	const more = $("types-more");
	more.hidden = list.length <= typesShown;
	more.textContent = "show " + Math.min(50, list.length - typesShown) + " more of " + list.length;
	more.onclick = () => { typesShown += 50; types(); };
}

// ---- bars: lifetimes, pages, stacks

function lives() {
	const t = D.totals;
	const rows = D.lives.map((l, i) => ({name: l.cycles, ...l, keys: ["lives." + i + ".objects", "lives." + i + ".bytes"]})).filter(l => l.objects > 0);
	rows.push({name: "not found dead", objects: t.alive, bytes: t.alive_bytes, keys: ["totals.alive", "totals.alive_bytes"]});
	fill("lives-legend", swatch("var(--used)", "bytes"), swatch("var(--waste)", "objects"));
	fill("lives", ...rows.flatMap(r => [
		el("span", {className: "name"}, r.name),
		el("span", {className: "bar two"},
			el("i", {style: "background:var(--used);width:" + percent(r.bytes, t.taken_bytes) + "%"}),
			el("i", {style: "background:var(--waste);width:" + percent(r.objects, t.taken) + "%"})),
		el("span", {className: "value"}, figure("span", r.keys[1], r.bytes, bytes(r.bytes)), " \u00b7 ", figure("span", r.keys[0], r.objects, short(r.objects)))]));
}

function pages() {
	const p = D.peak.pages, lead = $("pages-lead");
	lead.append("Of ", figure("span", "peak.pages.extent", p.extent, bytes(p.extent * PAGE)), " of addresses, ",
		figure("span", "peak.pages.free", p.free, bytes(p.free * PAGE)), " (" + share(p.free, p.extent) + ") lie free between spans; the longest run is ",
		figure("span", "peak.pages.largest_run", p.largest_run, bytes(p.largest_run * PAGE)), ".");
	const rows = p.runs.map((r, i) => ({...r, i})).filter(r => r.runs > 0), most = Math.max(1, ...rows.map(r => r.free));
	fill("pages", ...rows.flatMap(r => [
		el("span", {className: "name"}, r.pages + (r.pages === "1" ? " page" : " pages")),
		bar([[r.free, "--free"]], most),
		el("span", {className: "value"}, figure("span", "peak.pages.runs." + r.i + ".runs", r.runs, count(r.runs)), (r.runs === 1 ? " run, " : " runs, ") + bytes(r.free * PAGE))]));
}

function stacks() {
	const list = D.peak.stacks, most = Math.max(1, ...list.map(s => s.bytes * s.count));
	$("stacks-lead").append(figure("span", "peak.stack_bytes", D.peak.stack_bytes, bytes(D.peak.stack_bytes)), " in use, by size.");
	fill("stacks", ...list.flatMap((s, i) => [
		el("span", {className: "name"}, bytes(s.bytes)),
		bar([[s.bytes * s.count, "--green"]], most),
		el("span", {className: "value"}, figure("span", "peak.stacks." + i + ".count", s.count, count(s.count)), " in use, " + short(s.taken) + " taken so far")]));
}

// ---- all of it

document.documentElement.classList.toggle("narrow", innerWidth <= 760);
head();
mapLegend();
drawMap();
mapEvents();
heapChart();
allocChart();
gcChart();
classes();
types();
lives();
pages();
stacks();
const range = $("moment-range");
range.max = at.length - 1;
range.addEventListener("input", () => choose(Number(range.value)));
$("to-peak").onclick = () => choose(peakColumn);
$("to-end").onclick = () => choose(at.length - 1);
$("class-tabs").addEventListener("click", e => {
	if (!e.target.dataset.view) return;
	classView = e.target.dataset.view;
	$("class-tabs").querySelectorAll("button").forEach(b => b.setAttribute("aria-pressed", String(b.dataset.view === classView)));
	classes();
});
for (const button of document.querySelectorAll(".columns")) {
	button.onclick = () => { button.textContent = button.closest("section").classList.toggle("all") ? "fewer columns" : "all columns"; };
}
function layout() {
	document.documentElement.classList.toggle("narrow", !printing && innerWidth <= 760);
	picture = mapImage();
	drawMap();
	charts.forEach(c => c.u.setSize({width: c.box.clientWidth, height: c.height()}));
	redraws.forEach(draw => draw());
}
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; layout(); } });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { mapLegend(); layout(); });
// Paper is narrow and white.
function print(on) {
	printing = on;
	document.documentElement.classList.toggle("printing", on);
	mapLegend();
	layout();
}
addEventListener("beforeprint", () => print(true));
addEventListener("afterprint", () => print(false));
choose(peakColumn);
document.documentElement.dataset.ready = "1";
})();
