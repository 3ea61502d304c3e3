"use strict";
(async () => {
  const $ = (id) => document.getElementById(id);
  const status = $("listed");
  const PAGE = 50;
  let data;
  try {
    const bytes = Uint8Array.from(atob($("data").textContent.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    data = JSON.parse(await new Response(stream).text());
  } catch (error) {
    status.textContent = `This browser cannot open the list of partitions (${error}). Everything above is complete without it.`;
    return;
  }
  const text = (column, row) => (column.rows[row] < 0 ? "" : column.texts[column.rows[row]]);
  const gain = (row) => {
    const own = data.value[row], naive = data.naive[row];
    if (own === null || naive === null || naive === 0) return null;
    return data.higher ? own / naive - 1 : 1 - own / naive;
  };
  const change = (row) => (data.value[row] === null || data.previous[row] === null ? null : data.value[row] - data.previous[row]);
  const columns = [
    ...data.keys.map((name, i) => ({ name, get: (row) => text(data.key[i], row) })),
    { name: "status", get: (row) => text(data.status, row) },
    { name: "model", get: (row) => text(data.family, row) },
    { name: data.metric, get: (row) => data.value[row], number: true },
    { name: "gain on seasonal naive", get: gain, number: true, percent: true },
    { name: "change since model before", get: change, number: true },
    { name: "decision", get: (row) => text(data.decision, row) },
    { name: "rows", get: (row) => data.rows[row], number: true },
    { name: "fit seconds", get: (row) => data.seconds[row], number: true },
  ].filter((c) => !c.number || data.ids.some((_, row) => c.get(row) !== null));

  const say = (value, percent) => {
    if (value === null || value === undefined || value === "") return "–";
    if (typeof value !== "number") return value;
    if (percent) return `${(value * 100).toFixed(1)} %`;
    if (Number.isInteger(value)) return value.toLocaleString("en");
    const size = Math.abs(value);
    return size >= 1000 ? Math.round(value).toLocaleString("en") : value.toPrecision(3).replace(/e([+-])/, "e$1");
  };
  const make = (name, attributes = {}, ...inner) => {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) key.startsWith("on") ? node.addEventListener(key.slice(2), value) : node.setAttribute(key, value);
    node.append(...inner);
    return node;
  };
  const draw = (name, attributes = {}, inner) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (inner !== undefined) node.textContent = inner;
    return node;
  };

  const haystack = data.ids.map((id, row) => data.keys.map((name, i) => `${name}=${text(data.key[i], row)}`).join("  ").toLowerCase() + `  ${id}  ${text(data.family, row).toLowerCase()}`);
  const state = { rows: [], page: 0, sort: -1, down: true, open: null };

  const filter = () => {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const kind = $("kind").value;
    const fits = (row) => !kind || text(data.status, row) === kind || (kind === "detail" && data.details[data.ids[row]]);
    // A whole `name=value` must match whole: item=1 is not item=12.
    const has = (row, word) => (word.includes("=") ? `${haystack[row]} `.includes(`${word} `) : haystack[row].includes(word));
    state.rows = data.ids.map((_, row) => row).filter((row) => fits(row) && words.every((word) => has(row, word)));
    sort();
  };
  const sort = () => {
    if (state.sort >= 0) {
      const { get } = columns[state.sort];
      const sign = state.down ? -1 : 1;
      const natural = new Intl.Collator("en", { numeric: true });
      const order = (a, b) => (typeof a === "number" ? a - b : natural.compare(a, b));
      const empty = (value) => value === null || value === "";
      state.rows.sort((a, b) => {
        const x = get(a), y = get(b);
        if (empty(x) || empty(y)) return empty(x) - empty(y);
        return sign * order(x, y);
      });
    }
    state.page = 0;
    show();
  };
  const show = () => {
    const pages = Math.max(1, Math.ceil(state.rows.length / PAGE));
    const shown = state.rows.slice(state.page * PAGE, (state.page + 1) * PAGE);
    $("rows").replaceChildren(...shown.map(line));
    status.textContent = `${state.rows.length.toLocaleString("en")} partitions, page ${state.page + 1} of ${pages}`;
    $("back").disabled = state.page === 0;
    $("next").disabled = state.page >= pages - 1;
    const heads = columns.map((c, i) => {
      const arrow = i === state.sort ? (state.down ? " ↓" : " ↑") : "";
      const press = () => { state.down = i === state.sort ? !state.down : Boolean(c.number); state.sort = i; sort(); };
      return make("th", { class: c.number ? "n" : "", scope: "col", "aria-sort": arrow ? (state.down ? "descending" : "ascending") : "none" }, make("button", { class: "sort", type: "button", onclick: press }, c.name + arrow));
    });
    $("heads").replaceChildren(make("tr", {}, ...heads));
  };
  const wide = (said) => (String(said).length > 32 ? "wide" : "");
  const line = (row) => {
    const cells = columns.map((c, i) => {
      const said = say(c.get(row), c.percent);
      return make("td", { class: c.number ? "n" : wide(said) }, i === 0 ? make("button", { class: "look", type: "button" }, said) : said);
    });
    return make("tr", { class: data.ids[row] === state.open ? "open" : "", onclick: () => open(data.ids[row], true) }, ...cells);
  };

  const fact = (name, value) => (value ? [make("p", {}, make("b", {}, `${name}: `), value)] : []);
  const open = (id, move) => {
    const row = data.ids.indexOf(id);
    if (row < 0) return;
    state.open = id;
    show();
    const near = data.details[id];
    const key = data.keys.map((name, i) => `${name}=${text(data.key[i], row)}`).join("  ");
    const parts = [make("h3", {}, key), make("p", { class: "soft" }, [id, `${text(data.status, row)}${data.fresh[row] ? " in the newest training run" : ""}`, text(data.family, row)].filter(Boolean).join(" · "))];
    if (near) {
      parts.push(...fact("What happened", near.message), ...fact("What to do", near.advice), ...fact("Not scored", near.unscored));
      parts.push(...fact("Champion in production", near.champion), ...fact("Decision", near.decision), ...fact("About its metric", near.caution));
      if (near.history.length || near.forecast.length) parts.push(chart(near));
      if (near.scores.length) parts.push(make("div", { class: "scroll" }, scores(near.scores)));
    } else parts.push(make("p", { class: "soft" }, "History and folds of this partition are not in this file: it holds those of the best, the worst, the most changed and some others. In a notebook: run.plot(...)."));
    $("detail").replaceChildren(...parts);
    if (move) $("detail").scrollIntoView({ block: "nearest" });
  };
  const scores = (list) => {
    const folds = Math.max(1, ...list.map((s) => s.folds.length));
    const head = ["candidate", data.metric, ...Array.from({ length: folds }, (_, k) => `fold ${k + 1}`), "seconds", "what went wrong"];
    const rank = (s) => (s.metrics[data.metric] ?? NaN);
    const ordered = [...list].sort((a, b) => (Number.isNaN(rank(a)) - Number.isNaN(rank(b))) || (data.higher ? rank(b) - rank(a) : rank(a) - rank(b)) || 0);
    const body = ordered.map((s) => make("tr", {}, make("td", { class: wide(s.candidate) }, s.candidate), make("td", { class: "n" }, say(s.metrics[data.metric])),
      ...Array.from({ length: folds }, (_, k) => make("td", { class: "n" }, say((s.folds[k] || {})[data.metric]))), make("td", { class: "n" }, say(s.seconds)), make("td", { class: wide(s.error || "") }, s.error || "")));
    return make("table", {}, make("thead", {}, make("tr", {}, ...head.map((name, i) => make("th", { class: i && i < head.length - 1 ? "n" : "" }, name)))), make("tbody", {}, ...body));
  };
  const chart = (near) => {
    const W = Math.min(1160, Math.max(300, $("partitions").clientWidth - 80)), H = 250, left = 56, base = 220;
    const past = near.history, ahead = near.forecast;
    const levels = Object.keys(near.bands).sort((a, b) => b - a);
    const values = [...past, ...ahead].map((p) => p[1]).concat(...near.folds.map((f) => f.slice(1)), ...levels.map((l) => near.bands[l].flat())).filter((v) => v !== null);
    if (!values.length) return make("p", { class: "soft" }, "No values to draw.");
    const marks = ticks(Math.min(...values), Math.max(...values)), low = marks[0], high = marks[marks.length - 1];
    const count = past.length + ahead.length;
    const x = (i) => left + (i / Math.max(1, count - 1)) * (W - left - 8);
    const y = (v) => base - ((v - low) / (high - low)) * (base - 16);
    const path = (points, from) => points.map((p, i) => (p[1] === null ? "" : `${i && points[i - 1][1] !== null ? "L" : "M"}${x(from + i).toFixed(1)},${y(p[1]).toFixed(1)}`)).join("");
    const picture = draw("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `history, folds and forecast of ${data.target}`, id: "chart" });
    for (const v of marks) {
      picture.append(draw("line", { class: "axis", x1: left, x2: W - 8, y1: y(v), y2: y(v) }), draw("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, say(Number(v.toPrecision(3)))));
    }
    for (const level of levels) {
      const band = near.bands[level].map((b, i) => [i, b[0], b[1]]).filter((b) => b[1] !== null && b[2] !== null);
      const up = band.map(([i, , v]) => `${x(past.length + i).toFixed(1)},${y(v).toFixed(1)}`);
      const down = band.map(([i, v]) => `${x(past.length + i).toFixed(1)},${y(v).toFixed(1)}`).reverse();
      const area = draw("polygon", { class: "band", points: [...up, ...down].join(" ") });
      area.append(draw("title", {}, `${level} % interval`));
      picture.append(area);
    }
    picture.append(draw("path", { class: "history", d: path(past, 0) }));
    near.folds.forEach(([start, ...values], k) => {
      const curve = draw("path", { class: "fold", d: path(values.map((v) => [null, v]), start) });
      curve.append(draw("title", {}, `fold ${k + 1}, from ${past[start][0]}`));
      picture.append(draw("line", { class: "begin", x1: x(start), x2: x(start), y1: 8, y2: base }), curve);
    });
    picture.append(draw("path", { class: "forecast", d: path(ahead, past.length) }));
    if (past.length && ahead.length) picture.append(draw("line", { class: "cut", x1: x(past.length - 0.5), x2: x(past.length - 0.5), y1: 8, y2: base }));
    picture.append(...dates(past, ahead, x, left, W - 8).map(([at, anchor, said]) => draw("text", { x: at, y: base + 22, "text-anchor": anchor }, said)));
    const bands = levels.length ? [["band", `${levels.length > 1 ? "intervals" : "interval"} of ${levels.reverse().join(" and ")} %`]] : [];
    const folds = near.folds.length ? [["fold", "backtest folds of the newest model"]] : [];
    const keys = [["history", data.target], ...folds, ...(ahead.length ? [["forecast", "forecast"]] : []), ...bands];
    return make("div", {}, picture, make("p", { class: "legend" }, ...keys.map(([kind, said]) => make("span", { class: `key ${kind}-key` }, said))));
  };
  // A few round values, 1, 2 or 5 times a power of ten apart, around all that is shown.
  const ticks = (low, high) => {
    const span = high - low || Math.abs(high) || 1, power = 10 ** Math.floor(Math.log10(span / 4));
    const step = [1, 2, 5, 10].map((times) => times * power).find((size) => span / size <= 5);
    const first = Math.floor(low / step), last = Math.max(Math.ceil(high / step), first + 1);
    return Array.from({ length: last - first + 1 }, (_, number) => (first + number) * step);
  };
  // First and last time, and between them the last one known; those without room are left out.
  const dates = (past, ahead, x, left, right) => {
    const room = (said) => 7.5 * said.length + 8;
    const first = (past[0] || ahead[0])[0], last = (ahead[ahead.length - 1] || past[past.length - 1])[0];
    const found = [[left, "start", first]];
    let until = left + room(first);
    if (past.length && ahead.length && x(past.length - 1) - room(past[past.length - 1][0]) > until) {
      until = x(past.length - 1);
      found.push([until, "end", past[past.length - 1][0]]);
    }
    if (right - room(last) > until) found.push([right, "end", last]);
    return found;
  };

  $("search").addEventListener("input", filter);
  $("kind").addEventListener("change", filter);
  $("back").addEventListener("click", () => { state.page -= 1; show(); });
  $("next").addEventListener("click", () => { state.page += 1; show(); });
  const follow = () => {
    const id = decodeURIComponent(location.hash.slice(1));
    if (id.startsWith("p-")) { open(id.slice(2), false); $("detail").scrollIntoView({ block: "start" }); }
  };
  window.addEventListener("hashchange", follow);
  $("partitions").classList.add("ready");
  filter();
  follow();
})();
