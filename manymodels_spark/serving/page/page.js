// The page of a serving process: find a partition, see its history and its forecast. Text is only ever set as text.
"use strict";

const find = (id) => document.getElementById(id);
const show = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
let asked = 0;

async function ask(path, body) {
  const headers = { "Content-Type": "application/json" };
  if (find("key").value) headers.Authorization = "Bearer " + find("key").value;
  const options = body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers };
  const response = await fetch(path, options);
  const answer = await response.json();
  if (response.status === 401) find("key-field").hidden = false;
  if (answer.error) throw new Error(answer.error.message);
  return answer;
}

async function state() {
  try {
    const answer = await (await fetch("readyz")).json();
    find("state").textContent = answer.status + ", " + answer.models + " models in memory";
  } catch {
    find("state").textContent = "the server does not answer";
  }
}

async function search() {
  const mine = ++asked;
  try {
    const answer = await ask("v1/models?limit=50&q=" + encodeURIComponent(find("search").value));
    if (mine !== asked) return;
    find("models").replaceChildren(...answer.models.map(entry));
    find("hint").textContent = answer.models.length === 0 ? "No partition found." :
      answer.complete ? (answer.models.length === 50 ? "The first 50. Type to narrow them down." : "") :
      "The models' source is away: only those in memory are listed.";
  } catch (error) {
    if (mine === asked) find("hint").textContent = error.message;
  }
}

function make(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function entry(model) {
  const item = document.createElement("li");
  const button = make("button", model.label, { type: "button", "data-id": model.partition_id });
  button.append(make("small", model.family));
  button.addEventListener("click", () => { location.hash = model.partition_id; });
  item.append(button);
  return item;
}

async function choose() {
  const id = location.hash.slice(1);
  if (!id) return;
  for (const button of find("models").querySelectorAll("button")) {
    button.toggleAttribute("aria-current", button.dataset.id === id);
  }
  try {
    open(await ask("v1/models/" + encodeURIComponent(id)));
  } catch (error) {
    find("model").replaceChildren(make("p", error.message, { class: "error", role: "alert" }));
  }
}

function open(model) {
  const view = find("view").content.cloneNode(true);
  view.querySelector("h2").textContent = model.label;
  view.querySelector(".facts").textContent = [model.family, model.task, model.cutoff && "up to " + model.cutoff,
    ...Object.entries(model.metrics).slice(0, 4).map(([name, value]) => name + " " + show.format(value))]
    .filter(Boolean).join(" · ");
  const form = view.querySelector("form");
  const levels = model.intervals.length ? model.intervals : [];
  for (const level of [...levels.map(String), ""]) {
    form.level.append(make("option", level ? level + " %" : "none", { value: level }));
  }
  form.level.value = levels.includes(80) ? "80" : form.level.options[0].value;
  if (model.task === "forecast") form.horizon.value = model.horizon;
  else view.querySelector(".steps").remove();
  for (const name of model.inputs) {
    const label = make("label", name + " ");
    label.append(make("input", "", { name: "input " + name, value: model.task === "forecast" ? "0" : "" }));
    view.querySelector(".inputs").append(label);
  }
  form.addEventListener("submit", (event) => { event.preventDefault(); predict(model, form); });
  find("model").replaceChildren(view);
  if (model.task === "forecast" || model.inputs.length === 0) predict(model, form);
}

function request(model, form) {
  const body = { partition_id: model.partition_id, intervals: form.level.value ? [Number(form.level.value)] : [] };
  const values = {};
  for (const name of model.inputs) {
    const text = form.elements["input " + name].value.trim();
    values[name] = text === "" ? null : Number.isNaN(Number(text)) ? text : Number(text);
  }
  if (model.task !== "forecast") return { ...body, dataframe_records: [values] };
  const steps = Number(form.horizon.value);
  if (model.inputs.length === 0) return { ...body, horizon: steps };
  return { ...body, dataframe_records: model.next.slice(0, steps).map((time) => ({ [model.time]: time, ...values })) };
}

async function predict(model, form) {
  const section = find("model");
  const problem = section.querySelector(".error");
  problem.hidden = true;
  try {
    const answer = await ask("v1/score", request(model, form));
    const rows = answer.predictions.map((row) => point(row, model.time, form.level.value));
    section.querySelector("figure").replaceChildren(model.task === "forecast" ? chart(model, rows) : single(rows[0]));
    fill(section.querySelector("table"), answer.predictions);
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
  }
  state();
}

function point(row, time, level) {
  return { time: row[time], value: row.prediction, low: row["lower_" + level], high: row["upper_" + level],
    probability: row.probability };
}

function single(row) {
  const value = typeof row.value === "number" ? show.format(row.value) : String(row.value);
  const range = typeof row.low === "number" ? ", between " + show.format(row.low) + " and " + show.format(row.high) : "";
  const sure = typeof row.probability === "number" ? ", probability " + show.format(row.probability) : "";
  return make("p", "Prediction: " + value + range + sure);
}

function fill(table, rows) {
  const names = Object.keys(rows[0]);
  const cells = (tag, values) => { const line = document.createElement("tr"); line.append(...values.map((v) => make(tag, v))); return line; };
  const text = (value) => typeof value === "number" ? show.format(value) : value === null ? "" : String(value);
  table.replaceChildren(cells("th", names), ...rows.slice(0, 500).map((row) => cells("td", names.map((name) => text(row[name])))));
}

function draw(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function chart(model, forecast) {
  const width = 900, height = 340, left = 60, right = 12, top = 12, bottom = 28;
  const history = model.history.filter((p) => p.value !== null);
  const values = [...history.map((p) => p.value), ...forecast.flatMap((p) => [p.value, p.low, p.high])]
    .filter((value) => typeof value === "number");
  const times = [...history, ...forecast].map((p) => Date.parse(p.time));
  const from = Math.min(...times), to = Math.max(...times);
  const low = Math.min(...values), high = Math.max(...values), room = (high - low || Math.abs(high) || 1) * 0.06;
  const x = (time) => left + (Date.parse(time) - from) / (to - from || 1) * (width - left - right);
  const y = (value) => top + (high + room - value) / (high - low + 2 * room || 1) * (height - top - bottom);
  const line = (points) => points.filter((p) => p.value !== null).map((p) => x(p.time).toFixed(1) + "," + y(p.value).toFixed(1)).join(" ");
  const picture = draw("svg", { viewBox: "0 0 " + width + " " + height, role: "img",
    "aria-label": "History and forecast of " + model.label });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const value = low + (high - low) * share;
    picture.append(draw("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
      draw("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, show.format(value)));
  }
  for (const share of [0, 0.5, 1]) {
    const time = new Date(from + (to - from) * share).toISOString().slice(0, to - from < 3 * 864e5 ? 16 : 10).replace("T", " ");
    picture.append(draw("text", { x: left + share * (width - left - right), y: height - 8,
      "text-anchor": share === 0 ? "start" : share === 1 ? "end" : "middle" }, time));
  }
  const banded = forecast.filter((p) => typeof p.low === "number" && typeof p.high === "number");
  if (banded.length) {
    const edge = [...banded.map((p) => x(p.time) + "," + y(p.high)), ...banded.reverse().map((p) => x(p.time) + "," + y(p.low))];
    picture.append(draw("polygon", { class: "band", points: edge.join(" ") }));
  }
  const joined = history.length ? [history[history.length - 1], ...forecast] : forecast;
  picture.append(draw("line", { class: "cutoff", x1: x(model.cutoff), x2: x(model.cutoff), y1: top, y2: height - bottom }),
    draw("polyline", { class: "history", points: line(history) }),
    draw("polyline", { class: "forecast", points: line(joined) }));
  return picture;
}

let typing;
find("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(search, 200); });
find("key-field").addEventListener("submit", (event) => { event.preventDefault(); search(); choose(); });
addEventListener("hashchange", choose);
state();
search().then(choose);
