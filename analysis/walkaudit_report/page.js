"use strict";
// Sorting, one filter for the page, unfolding, and fewer stops for a keyboard. Without it the page says all the same.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  if (body.rows.length > 1) {
    table.tHead.querySelectorAll("th").forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sortBy(table, head, column));
      head.append(button);
    });
  }
  if (table.dataset.filter !== undefined) addFilter(table, body);
}

function keyOf(row, column) {
  const cell = row.cells[column];
  return cell.dataset.sort !== undefined ? Number(cell.dataset.sort) : cell.textContent;
}

function compare(a, b) {
  const numbers = (typeof a === "number") - (typeof b === "number");
  if (numbers !== 0) return -numbers; // what is no number comes last
  return typeof a === "number" ? (a === b ? 0 : a < b ? -1 : 1) : a.localeCompare(b, undefined, {numeric: true});
}

function sortBy(table, head, column) {
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows].map(row => [keyOf(row, column), row]);
  rows.sort(([a], [b]) => down && typeof a === typeof b ? compare(b, a) : compare(a, b));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

function addFilter(table, body) {
  const box = document.createElement("div"), label = document.createElement("label");
  const input = document.createElement("input"), status = document.createElement("output");
  box.className = "filter";
  input.type = "search";
  label.append("Rows with ", input);
  box.append(label, status);
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    let shown = 0;
    for (const row of body.rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      shown += !row.hidden;
    }
    status.textContent = wanted ? `${shown} of ${body.rows.length}` : "";
  });
  table.closest(".scroll").before(box);
}

function unfold() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (target.closest(".unchosen")) document.getElementById("choose-all").click();
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", unfold);
addEventListener("click", event => { // a second click on the same link unfolds again
  const link = event.target.closest && event.target.closest('a[href^="#"]');
  if (link && link.getAttribute("href") === location.hash) unfold();
});

function stopAtScrollable() { // only what does not fit needs the keyboard to scroll
  for (const box of document.querySelectorAll(".scroll")) {
    if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight + 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
addEventListener("resize", stopAtScrollable);
addEventListener("toggle", stopAtScrollable, true);
stopAtScrollable();

// One choice of vindex and case for the whole page: what is about other cases only is left out. A second case may stand beside.
const vindexes = document.getElementById("choose-vindex"), cases = document.getElementById("choose-case");
const other = document.getElementById("choose-other");
function chosenCases() {
  const options = [...cases.options].slice(1);
  const own = options.filter(option => vindexes.value === "" || option.dataset.vindex === vindexes.value);
  const chosen = own.filter(option => cases.value === "" || option.value === cases.value).map(option => option.value);
  return other.value === "" ? chosen : [...new Set([...chosen, other.value])];
}

function choose() {
  for (const option of [...cases.options].slice(1)) {
    option.hidden = option.disabled = vindexes.value !== "" && option.dataset.vindex !== vindexes.value;
  }
  if (cases.selectedOptions[0].disabled) cases.value = "";
  other.disabled = cases.value === "";
  if (other.disabled || other.value === cases.value) other.value = "";
  const chosen = new Set(chosenCases());
  for (const item of document.querySelectorAll("[data-about]")) {
    item.classList.toggle("unchosen", !item.dataset.about.split(" ").some(at => chosen.has(at)));
  }
  const all = cases.options.length - 1;
  document.getElementById("chosen").textContent = chosen.size === all ? "" : `${chosen.size} of ${all} cases shown`;
  standBeside();
  dispatchEvent(new CustomEvent("chosen", {detail: chosen}));
}

function standBeside() { // the figures of both cases, from the page's own tables, with how many times the second is the first
  document.getElementById("beside")?.remove();
  if (other.value === "") return;
  const section = document.createElement("section"), title = document.createElement("h2"), box = document.createElement("div");
  const table = document.createElement("table"), head = table.createTHead().insertRow(), body = table.createTBody();
  section.id = "beside";
  title.textContent = "Side by side";
  box.className = "scroll";
  table.createCaption().textContent = "Two cases side by side, and how many times the second figure is the first";
  for (const words of ["figure", cases.selectedOptions[0].text, other.selectedOptions[0].text, "times"]) {
    head.append(Object.assign(document.createElement("th"), {scope: "col", textContent: words}));
  }
  for (const source of document.querySelectorAll("#summary table, #places > .scroll table, #rates table, #basis table")) {
    const [one, two] = [cases.value, other.value].map(at => source.querySelector(`tr[data-about="${at}"]`));
    if (!one || !two) continue;
    let named = "";
    const group = body.insertRow();
    group.append(Object.assign(document.createElement("th"), {scope: "row", colSpan: 4, className: "group", textContent: source.caption.textContent}));
    [...source.tHead.rows[0].cells].slice(1).forEach((cell, at) => {
      const own = cell.textContent, [a, b] = [one.cells[at + 1], two.cells[at + 1]];
      named = own.startsWith("at") ? named : own;
      if (a.textContent === "–" && b.textContent === "–") return;
      const row = body.insertRow(), times = Number(b.dataset.sort) / Number(a.dataset.sort);
      row.append(Object.assign(document.createElement("th"), {scope: "row", textContent: own === named ? own : `${named}: place`}));
      for (const seen of [a, b]) row.insertCell().append(...[...seen.childNodes].map(node => node.cloneNode(true)));
      row.insertCell().textContent = own === named && Number.isFinite(times) && times > 0 ? Number(times.toPrecision(3)) : "";
    });
  }
  box.append(table);
  section.append(title, box);
  document.getElementById("main").prepend(section);
}
if (cases) {
  document.getElementById("choice").hidden = false;
  for (const select of [vindexes, cases, other]) select.addEventListener("change", choose);
  document.getElementById("choose-all").addEventListener("click", () => {
    vindexes.value = cases.value = other.value = "";
    choose();
  });
}

// What a reader points at, or reaches by keyboard, told in a box beside it and to a screen reader.
const tip = document.createElement("div"), spoken = document.createElement("output");
tip.id = "tip";
tip.hidden = true;
tip.setAttribute("aria-hidden", "true");
spoken.className = "spoken";
document.body.append(tip, spoken);

let held = false; // told to a keyboard, which may have scrolled to it
function tell(words, x, y, speak) {
  held = Boolean(speak);
  tip.textContent = words;
  tip.hidden = false;
  const left = Math.min(x + 14, innerWidth - tip.offsetWidth - 8), below = y + 16 + tip.offsetHeight < innerHeight;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${below ? y + 16 : Math.max(4, y - tip.offsetHeight - 12)}px`;
  if (speak) spoken.textContent = words;
}
function hush() { tip.hidden = true; }
addEventListener("scroll", () => { if (!held) hush(); }, {passive: true, capture: true});
addEventListener("keydown", event => { if (event.key === "Escape") hush(); });

for (const item of document.querySelectorAll("[data-told]")) {
  item.addEventListener("pointermove", event => tell(item.dataset.told, event.clientX, event.clientY));
  item.addEventListener("pointerleave", hush);
  item.addEventListener("focus", () => {
    const box = item.getBoundingClientRect();
    tell(item.dataset.told, box.right, box.bottom, true);
  });
  item.addEventListener("blur", hush);
}

const SVG = "http://www.w3.org/2000/svg";
for (const group of document.querySelectorAll("section")) {
  const charts = [...group.querySelectorAll(":scope > figure svg[data-chart]")];
  charts.forEach((svg, number) => startChart(svg, number, charts));
}

function startChart(svg, number, charts) { // pointing tells the values at an x; arrow keys walk along it, and to the next chart
  const chart = JSON.parse(svg.dataset.chart), line = document.createElementNS(SVG, "path");
  const name = svg.closest("figure").querySelector("strong").textContent.replace(/\.$/, "");
  let at = 0;
  line.setAttribute("class", "cursor");
  svg.append(line);
  svg.tabIndex = number === 0 ? 0 : -1;
  function show(index, x, y, speak) {
    at = Math.max(0, Math.min(chart.xs.length - 1, index));
    const values = chart.series.filter(([, list]) => list[at] !== null).map(([title, list]) => `${title}: ${number3(list[at])}`);
    line.setAttribute("d", `M${chart.at[at]} 10V156`);
    tell(`${name}\n${chart.x} ${chart.xs[at]}\n${values.join("\n") || "nothing was measured"}`, x, y, speak);
  }
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect(), x = (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
    show(nearest(chart.at, x), event.clientX, event.clientY);
  });
  svg.addEventListener("pointerleave", () => { hush(); line.removeAttribute("d"); });
  svg.addEventListener("blur", () => { hush(); line.removeAttribute("d"); });
  svg.addEventListener("keydown", event => {
    const step = {ArrowRight: 1, ArrowLeft: -1, Home: -chart.xs.length, End: chart.xs.length}[event.key];
    const other = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (step === undefined && other === undefined) return;
    event.preventDefault();
    if (other !== undefined) {
      const shown = charts.filter(one => one.getClientRects().length > 0), next = shown[shown.indexOf(svg) + other];
      if (!next) return;
      svg.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
      return;
    }
    const box = svg.getBoundingClientRect();
    show(at + step, box.left + chart.at[Math.max(0, Math.min(chart.xs.length - 1, at + step))] * box.width / svg.viewBox.baseVal.width, box.top + 20, true);
  });
}
function number3(value) { return typeof value === "number" && value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5) ? value.toExponential(2) : value; }
function nearest(list, x) { return list.reduce((best, value, index) => Math.abs(value - x) < Math.abs(list[best] - x) ? index : best, 0); }

// Maps: columns are positions of all prompts side by side, rows are layers from below. All cases show the same columns.
const RAMP = [[26, 20, 72], [52, 64, 150], [38, 112, 160], [40, 156, 140], [124, 192, 86], [244, 226, 70]];
const GREY = [200, 204, 210], LOST = [213, 94, 0];
const holder = document.getElementById("maps-data");
if (holder) startMaps(JSON.parse(holder.textContent), document.getElementById("explorer"));

function colorOf(code, low, high) {
  if (code === 0) return GREY;
  if (code === 255) return LOST;
  const place = high > low ? Math.max(0, Math.min(1, (code - low) / (high - low))) * (RAMP.length - 1) : RAMP.length - 1;
  const at = Math.min(RAMP.length - 2, Math.floor(place)), part = place - at;
  return RAMP[at].map((value, channel) => Math.round(value + part * (RAMP[at + 1][channel] - value)));
}

async function inflate(words) {
  const packed = Uint8Array.from(atob(words), char => char.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function startMaps(data, place) {
  const starts = [0], MARGIN = 34;
  for (const prompt of data.prompts) starts.push(starts[starts.length - 1] + prompt.columns);
  const total = starts[starts.length - 1], tokens = data.tokens.flat();
  let quantity = 0, first = 0, last = total, bytes = [], low = 1, high = 254, cursor = {row: 0, column: 0};
  const tools = element("div", {className: "tools", role: "group", ariaLabel: "What the maps show"});
  const which = choice("Quantity", data.quantities.map(one => one.symbol)), prompts = choice("Prompt", ["all, side by side", ...data.prompts.map(one => one.key)]);
  const legend = element("canvas", {className: "legend", width: 300, height: 34, role: "img"}), range = element("output", {});
  tools.append(which.label, prompts.label, ...[["narrower", "+", () => zoom(0.5)], ["wider", "−", () => zoom(2)],
    ["to the left", "◀", () => move(-0.5)], ["to the right", "▶", () => move(0.5)], ["everything", "all", () => view(0, total)]].map(([title, sign, act]) => {
      const button = element("button", {type: "button", textContent: sign, title, ariaLabel: title});
      button.addEventListener("click", act);
      return button;
    }), range, legend);
  place.replaceChildren(tools);
  const maps = data.names.map((name, at) => {
    const figure = element("figure", {className: "map"}), canvas = element("canvas", {tabIndex: 0, role: "img"}), words = element("p", {className: "zero", hidden: true});
    figure.dataset.about = data.cases[at];
    figure.append(element("figcaption", {textContent: name}), canvas, words);
    canvas.addEventListener("pointermove", event => point(at, event));
    canvas.addEventListener("pointerleave", hush);
    canvas.addEventListener("blur", hush);
    canvas.addEventListener("click", event => { point(at, event); enter(); });
    canvas.addEventListener("keydown", event => key(at, event));
    place.append(figure);
    return {figure, canvas, words};
  });
  const pinned = element("div", {id: "pinned", hidden: true});
  place.append(pinned);
  which.select.addEventListener("change", () => load(Number(which.select.value)));
  prompts.select.addEventListener("change", () => {
    const at = Number(prompts.select.value);
    if (at === 0) view(0, total);
    else view(starts[at - 1], starts[at]);
  });
  addEventListener("resize", paint);
  addEventListener("chosen", paint);
  matchMedia("print").addEventListener("change", paint);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  load(0);

  function element(tag, values) {
    const made = document.createElement(tag), {role, ariaLabel, ...rest} = values;
    if (role) made.setAttribute("role", role);
    if (ariaLabel) made.setAttribute("aria-label", ariaLabel);
    return Object.assign(made, rest);
  }
  function choice(title, names) {
    const label = element("label", {}), select = element("select", {});
    names.forEach((name, at) => select.append(element("option", {value: at, textContent: name})));
    label.append(`${title} `, select);
    return {label, select};
  }
  async function load(number) {
    place.setAttribute("aria-busy", "true");
    bytes = await Promise.all(data.quantities[number].maps.map(inflate));
    quantity = number;
    paint();
    place.removeAttribute("aria-busy");
  }
  function rows() { return data.quantities[quantity].rows; }
  function valueOf(code) {
    return code === 0 ? "exactly 0" : code === 255 ? "not finite" : `about ${figure(code)}`;
  }
  function figure(code) { return (data.quantities[quantity].high * 10 ** ((code - 1) / data.steps - data.decades)).toExponential(1); }
  function promptOf(column) { return starts.findIndex((start, at) => column < starts[at + 1]); }
  function placeOf(column) {
    const prompt = promptOf(column), inside = column - starts[prompt];
    const position = inside === 0 ? 0 : 1 + (inside - 1) * data.step;
    return {prompt, position, until: inside === 0 ? 0 : Math.min(position + data.step, data.prompts[prompt].rows) - 1};
  }
  function view(from, to) {
    first = Math.max(0, Math.min(from, total - 1));
    last = Math.max(first + 1, Math.min(to, total));
    cursor.column = Math.max(first, Math.min(cursor.column, last - 1));
    paint();
  }
  function zoom(factor) {
    const middle = cursor.column >= first && cursor.column < last ? cursor.column : (first + last) / 2;
    const wide = Math.max(4, Math.min(total, Math.round((last - first) * factor)));
    const from = Math.max(0, Math.min(total - wide, Math.round(middle - wide / 2)));
    view(from, from + wide);
  }
  function move(part) {
    const wide = last - first, from = Math.max(0, Math.min(total - wide, first + Math.round(wide * part)));
    view(from, from + wide);
  }
  function paint() {
    if (!bytes.length) return;
    [low, high] = [254, 1]; // one scale for all cases that are shown
    maps.forEach((map, number) => {
      if (map.figure.classList.contains("unchosen")) return;
      for (const code of bytes[number]) {
        if (code > 0 && code < low) low = code;
        if (code < 255 && code > high) high = code;
      }
    });
    const ink = getComputedStyle(document.body).color, at = promptOf(first), one = starts[at] === first && starts[at + 1] === last;
    prompts.select.value = one ? at + 1 : first === 0 && last === total ? 0 : -1;
    const from = placeOf(first), to = placeOf(last - 1);
    range.textContent = `${data.prompts[from.prompt].key}/${from.position} to ${data.prompts[to.prompt].key}/${to.until}`;
    paintLegend(ink);
    maps.forEach((map, number) => paintMap(map, bytes[number], number, ink));
  }
  function cellOf(count) { return count === 1 ? 16 : Math.max(2, Math.min(9, Math.floor(150 / count))); } // height of a row
  function paintLegend(ink) {
    const pen = legend.getContext("2d"), wide = legend.width - 40;
    pen.clearRect(0, 0, legend.width, legend.height);
    for (let x = 0; x < wide; x++) {
      pen.fillStyle = `rgb(${colorOf(Math.round(low + (high - low) * x / wide), low, high)})`;
      pen.fillRect(20 + x, 0, 1, 12);
    }
    pen.fillStyle = ink;
    pen.font = "12px sans-serif";
    pen.textAlign = "center";
    for (const part of [0, 0.5, 1]) pen.fillText(figure(Math.round(low + (high - low) * part)), 20 + wide * part, 27);
    const symbol = data.quantities[quantity].symbol;
    legend.setAttribute("aria-label", `Colours of ${symbol}: from ${figure(low)} to ${figure(high)}; grey is exactly 0, orange not finite`);
    legend.title = `${symbol}; grey: exactly 0, orange: not finite`;
  }
  function paintMap(map, codes, number, ink) {
    const count = rows(), zero = !codes.some(code => code > 0), wide = Math.max(120, Math.floor(map.figure.clientWidth) - 2);
    const symbol = data.quantities[quantity].symbol;
    map.words.hidden = !zero;
    map.words.textContent = zero ? `${symbol}: exactly 0 at every ${count > 1 ? "layer and " : ""}position.` : "";
    map.canvas.hidden = zero;
    if (zero || map.figure.clientWidth === 0) return;
    const cell = cellOf(count), each = (wide - MARGIN) / (last - first);
    const seen = maps.filter(one => one.figure.clientWidth > 0 && !one.canvas.hidden), named = each >= 13 && (seen.length < 5 || seen[seen.length - 1] === map);
    const below = named ? 96 : 18, ratio = devicePixelRatio || 1;
    map.canvas.width = wide * ratio;
    map.canvas.height = (cell * count + below) * ratio;
    map.canvas.style.width = `${wide}px`;
    map.canvas.setAttribute("aria-label", `${symbol} of ${data.names[number]}, layers upwards, positions to the right. Arrow keys move, Enter opens a place, plus and minus zoom.`);
    const pen = map.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.imageSmoothingEnabled = false;
    const shown = Math.min(last - first, wide - MARGIN), image = new ImageData(shown, count);
    for (let y = 0; y < count; y++) {
      for (let x = 0; x < shown; x++) { // of the columns of a pixel the largest
        const from = first + Math.floor(x * (last - first) / shown), to = Math.max(from + 1, first + Math.floor((x + 1) * (last - first) / shown));
        let code = 0;
        for (let column = from; column < to; column++) code = Math.max(code, codes[(count - 1 - y) * total + column]);
        image.data.set([...colorOf(code, low, high), 255], 4 * (y * shown + x));
      }
    }
    const sheet = new OffscreenCanvas(shown, count);
    sheet.getContext("2d").putImageData(image, 0, 0);
    pen.drawImage(sheet, MARGIN, 0, wide - MARGIN, cell * count);
    pen.fillStyle = pen.strokeStyle = ink;
    pen.font = "11px sans-serif";
    pen.textAlign = "right";
    if (count > 1) for (const layer of [0, count - 1]) pen.fillText(layer, MARGIN - 4, cell * (count - layer) - Math.max(0, cell / 2 - 4));
    nameColumns(pen, each, cell * count, named, wide);
  }
  function nameColumns(pen, each, height, named, wide) {
    const x = column => MARGIN + (column - first) * each;
    let free = -1;
    pen.textAlign = "left";
    for (let prompt = 0; prompt < data.prompts.length; prompt++) { // where prompts begin
      if (starts[prompt] > first && starts[prompt] < last) pen.fillRect(x(starts[prompt]) - 0.5, 0, 1, height + 4);
      const left = Math.max(x(starts[prompt]), MARGIN), seen = starts[prompt + 1] > first && starts[prompt] < last && data.prompts[prompt].columns > 0;
      if (!named && seen && left > free) {
        const words = data.prompts[prompt].key, long = pen.measureText(words).width;
        if (left + long < wide) pen.fillText(words, left + 1, height + 14);
        free = left + long + 8;
      }
    }
    if (!named) return;
    for (let column = first; column < last; column++) {
      pen.save();
      pen.translate(x(column) + each / 2 + 4, height + 4);
      pen.rotate(-Math.PI / 2);
      pen.textAlign = "right";
      const {position} = placeOf(column);
      pen.fillText(`${position} '${tokens[column].slice(0, 12)}'`, 0, 0);
      pen.restore();
    }
  }
  function wordsAt(number) {
    const {prompt, position, until} = placeOf(cursor.column), inside = cursor.column - starts[prompt], own = data.tokens[prompt];
    const around = `${own.slice(Math.max(0, inside - 4), inside).join("")}[${own[inside]}]${own.slice(inside + 1, inside + 3).join("")}`;
    const layer = rows() > 1 ? `layer ${cursor.row}, ` : "", span = until > position ? `${position}–${until}` : position;
    return `${data.names[number]}\n${layer}${data.prompts[prompt].key}/${span}\n${around}\n${data.quantities[quantity].symbol} ${valueOf(bytes[number][cursor.row * total + cursor.column])}`;
  }
  function point(number, event) {
    const canvas = maps[number].canvas, box = canvas.getBoundingClientRect(), each = (box.width - MARGIN) / (last - first);
    const column = first + Math.floor((event.clientX - box.left - MARGIN) / each), row = rows() - 1 - Math.floor((event.clientY - box.top) / cellOf(rows()));
    if (column < first || column >= last || row < 0 || row >= rows()) { hush(); return; }
    cursor = {row, column};
    tell(wordsAt(number), event.clientX, event.clientY);
  }
  function enter() { // a prompt first, then the place in all cases
    const prompt = promptOf(cursor.column);
    if (first < starts[prompt] || last > starts[prompt + 1]) view(starts[prompt], starts[prompt + 1]);
    else pin();
  }
  function pin() {
    const table = element("table", {}), caption = table.createCaption(), {prompt, position} = placeOf(cursor.column), body = table.createTBody();
    const layer = rows() > 1 ? `layer ${cursor.row}, ` : "";
    caption.textContent = `${data.quantities[quantity].symbol} at ${layer}${data.prompts[prompt].key}/${position} '${tokens[cursor.column]}' in every case`;
    maps.forEach((map, number) => {
      const row = body.insertRow(), head = element("th", {scope: "row", textContent: data.names[number]});
      row.dataset.about = data.cases[number];
      row.append(head);
      row.insertCell().textContent = valueOf(bytes[number][cursor.row * total + cursor.column]);
    });
    pinned.replaceChildren(table);
    pinned.hidden = false;
    if (cases) choose();
    spoken.textContent = caption.textContent;
  }
  function key(number, event) {
    const steps = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 0], ArrowDown: [-1, 0], Home: [0, -total], End: [0, total]}[event.key];
    if (event.key === "+" || event.key === "-") zoom(event.key === "+" ? 0.5 : 2);
    else if (event.key === "Enter") enter();
    else if (!steps) return;
    else {
      cursor = {row: Math.max(0, Math.min(rows() - 1, cursor.row + steps[0])), column: Math.max(first, Math.min(last - 1, cursor.column + steps[1]))};
    }
    event.preventDefault();
    const box = maps[number].canvas.getBoundingClientRect();
    tell(wordsAt(number), box.left + MARGIN + (cursor.column - first + 0.5) * (box.width - MARGIN) / (last - first), box.top, true);
  }
}
unfold();
