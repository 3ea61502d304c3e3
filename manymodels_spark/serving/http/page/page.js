// The page of a serving process: find a partition, see its history and its forecast. Text is only ever set as text.
"use strict";

const find = (id) => document.getElementById(id);
const show = figures;
const natural = new Intl.Collator("en", { numeric: true });
const TOLD = ["wape", "mase", "smape", "rmse", "accuracy", "f1", "auc", "logloss", "r2", "mae", "bias"];
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
    const sorted = answer.models.sort((a, b) => natural.compare(a.label, b.label));
    find("models").replaceChildren(...sorted.map(entry));
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

function plain(time) { return time.replace("T00:00:00", "").replace("T", " ").slice(0, 16); }

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

function facts(model) {
  const said = [["model", model.family], ["predicts", model.target], ["trained up to", model.cutoff && plain(model.cutoff)],
    ["promoted", model.promoted_at && plain(model.promoted_at)],
    ...TOLD.filter((name) => name in model.metrics).slice(0, 4).map((name) => [name, show.format(model.metrics[name])])];
  return said.filter(([, value]) => value).map(([name, value]) => {
    const fact = make("span", name + " ");
    fact.append(make("b", value));
    return fact;
  });
}

function open(model) {
  const view = find("view").content.cloneNode(true);
  view.querySelector("h2").textContent = model.label;
  view.querySelector(".facts").append(...facts(model));
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
  if (model.task === "forecast" && model.inputs.length) view.querySelector(".inputs").append(make("small", "the same at every step"));
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
    section.querySelector("figure").replaceChildren(model.task === "forecast" ? chart(model, rows, form.level.value) : single(rows[0]));
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
  const text = (value) => typeof value === "number" ? show.format(value) : value === null ? "" : /^\d{4}-\d\d-\d\dT/.test(value) ? plain(value) : String(value);
  table.replaceChildren(cells("th", names), ...rows.slice(0, 500).map((row) => cells("td", names.map((name) => text(row[name])))));
}

let typing;
find("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(search, 200); });
find("key-field").addEventListener("submit", (event) => { event.preventDefault(); search(); choose(); });
addEventListener("hashchange", choose);
state();
search().then(choose);
