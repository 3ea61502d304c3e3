// A chart of a history and its forecast as SVG, with a reading line that follows the pointer or the arrow keys.
"use strict";

const SIZE = { width: 900, height: 360, left: 56, right: 14, top: 14, bottom: 30 };
const figures = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

function draw(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function numbers(values) { return values.filter((value) => typeof value === "number"); }

function day(time, span) { return new Date(time).toISOString().slice(0, span < 3 * 864e5 ? 16 : 10).replace("T", " "); }

// Times of the server have no zone; they are shown as they are.
function moment(text) { return Date.parse(/Z|[+-]\d\d:\d\d$/.test(text) ? text : text + "Z"); }

// Between four and nine round values, 1, 2 or 5 times a power of ten apart, that lie around all that is shown.
function ticks(low, high) {
  const span = high - low || Math.abs(high) || 1, power = 10 ** Math.floor(Math.log10(span / 5));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => span / size <= 7);
  const first = Math.floor(low / step), last = Math.ceil(high / step);
  return Array.from({ length: last - first + 1 }, (_, number) => (first + number) * step);
}

function scales(history, forecast) {
  const shown = numbers([...history.map((p) => p.value), ...forecast.flatMap((p) => [p.value, p.low, p.high])]);
  const times = [...history, ...forecast].map((p) => moment(p.time));
  const from = Math.min(...times), to = Math.max(...times), marks = ticks(Math.min(...shown), Math.max(...shown));
  const low = marks[0], high = marks[marks.length - 1];
  const { width, height, left, right, top, bottom } = SIZE;
  return {
    from, to, marks,
    x: (time) => left + (moment(time) - from) / (to - from || 1) * (width - left - right),
    y: (value) => top + (high - value) / (high - low || 1) * (height - top - bottom),
  };
}

function axes(scale) {
  const { width, height, left, right } = SIZE, parts = [];
  for (const value of scale.marks) {
    parts.push(draw("line", { class: "grid", x1: left, x2: width - right, y1: scale.y(value), y2: scale.y(value) }),
      draw("text", { x: left - 8, y: scale.y(value) + 4, "text-anchor": "end" }, figures.format(value)));
  }
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    parts.push(draw("text", { x: left + share * (width - left - right), y: height - 8,
      "text-anchor": share === 0 ? "start" : share === 1 ? "end" : "middle" },
    day(scale.from + (scale.to - scale.from) * share, scale.to - scale.from)));
  }
  return parts;
}

function band(scale, forecast) {
  const known = forecast.filter((p) => typeof p.low === "number" && typeof p.high === "number");
  if (!known.length) return [];
  const edge = [...known.map((p) => [p.time, p.high]), ...known.reverse().map((p) => [p.time, p.low])];
  return [draw("polygon", { class: "band", points: edge.map(([time, value]) => scale.x(time).toFixed(1) + "," + scale.y(value).toFixed(1)).join(" ") })];
}

function line(scale, name, points) {
  const known = points.filter((p) => typeof p.value === "number");
  return draw("polyline", { class: name, points: known.map((p) => scale.x(p.time).toFixed(1) + "," + scale.y(p.value).toFixed(1)).join(" ") });
}

function reading(p, span) {
  const range = typeof p.low === "number" ? ", between " + figures.format(p.low) + " and " + figures.format(p.high) : "";
  return day(moment(p.time), span) + ": " + (typeof p.value === "number" ? figures.format(p.value) : "no value") + range;
}

// The reading line: nearest point to the pointer, or the next one by arrow keys; what it says is read aloud.
function follow(picture, scale, points, says) {
  const mark = draw("line", { class: "mark", y1: SIZE.top, y2: SIZE.height - SIZE.bottom }), dot = draw("circle", { class: "dot", r: 4 });
  let at = points.length - 1;
  const to = (index) => {
    at = Math.max(0, Math.min(points.length - 1, index));
    const p = points[at], x = scale.x(p.time);
    mark.setAttribute("x1", x); mark.setAttribute("x2", x);
    dot.setAttribute("cx", x); dot.setAttribute("cy", scale.y(p.value));
    picture.classList.add("read");
    says.textContent = reading(p, scale.to - scale.from);
  };
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect(), x = (event.clientX - box.left) / box.width * SIZE.width;
    const far = points.map((p) => Math.abs(scale.x(p.time) - x));
    to(far.indexOf(Math.min(...far)));
  });
  picture.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -points.length, End: points.length }[event.key];
    if (step) { event.preventDefault(); to(at + step); }
  });
  picture.append(mark, dot);
}

function legend(banded, level) {
  const list = document.createElement("ul");
  list.className = "legend";
  for (const [name, text] of [["history", "history"], ["forecast", "forecast"], ["band", level + " % interval"]]) {
    if (name === "band" && !banded) continue;
    const item = document.createElement("li");
    item.className = "key-" + name;
    item.textContent = text;
    list.append(item);
  }
  return list;
}

function chart(model, forecast, level) {
  // Drawn as wide as there is room, so that letters keep their size on a narrow screen.
  SIZE.width = Math.max(320, Math.min(1100, document.getElementById("model").clientWidth - 60));
  SIZE.height = SIZE.width < 600 ? 260 : 360;
  const history = model.history.filter((p) => p.value !== null), scale = scales(history, forecast), bands = band(scale, forecast);
  const picture = draw("svg", { viewBox: "0 0 " + SIZE.width + " " + SIZE.height, role: "img", tabindex: "0",
    "aria-label": "History and forecast of " + model.target + ", " + model.label + ". Arrow keys read the points." });
  const joined = history.length ? [history[history.length - 1], ...forecast] : forecast;
  picture.append(...axes(scale), ...bands,
    draw("line", { class: "cutoff", x1: scale.x(model.cutoff), x2: scale.x(model.cutoff), y1: SIZE.top, y2: SIZE.height - SIZE.bottom }),
    line(scale, "history", history), line(scale, "forecast", joined));
  const says = document.createElement("output");
  says.textContent = "Point at the chart to read a value.";
  follow(picture, scale, [...history, ...forecast].filter((p) => typeof p.value === "number"), says);
  const parts = document.createDocumentFragment();
  parts.append(legend(bands.length > 0, level), picture, says);
  return parts;
}
