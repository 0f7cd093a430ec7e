
"use strict";
// Texts of submissions reach the page through textContent alone; links and sources are built from checked slugs.
const boards = JSON.parse(document.getElementById("data").textContent);
const main = document.getElementById("main");
const NS = "http://www.w3.org/2000/svg";
const state = { sort: null, down: true, filter: "", kind: "", all: false };
const PRIMARY = 4;  // metrics that are shown without the switch

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else if (value !== null && value !== undefined) node.setAttribute(key, value);
  }
  for (const child of children) node.append(child);  // strings become text, never markup
  return node;
}

function draw(tag, attributes, text) {
  const node = document.createElementNS(NS, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function digits(value) {
  return value === null || value === undefined ? "–" : Math.abs(value) < 10 ? value.toFixed(3) : value.toFixed(1);
}

function spanText(score) {
  return score && score.low !== null && score.value !== null ? `[${digits(score.low)}, ${digits(score.high)}]` : "";
}

function address(board, entry) {
  return `#${encodeURIComponent(board.name)}${entry ? "/" + encodeURIComponent(entry.slug) : ""}`;
}

// --- intervals ---------------------------------------------------------------------------------------------------------

function limits(scores) {
  const values = scores.filter(s => s && s.value !== null).flatMap(s => [s.value, s.low, s.high]).filter(v => v !== null);
  if (!values.length) return [0, 1];
  const low = Math.min(...values), high = Math.max(...values), room = (high - low) * 0.04 || 0.5;
  return [low - room, high + room];
}

function bar(score, [low, high], width, height, y = height / 2, kind = "") {
  const group = draw("g", {});
  if (!score || score.value === null) return group;
  const place = value => (value - low) / (high - low) * width;
  if (score.low !== null) {
    group.append(draw("line", { class: `bar ${kind}`, x1: place(score.low), x2: place(score.high), y1: y, y2: y }));
  }
  group.append(draw("circle", { class: `dot ${kind}`, cx: place(score.value), cy: y, r: 4 }));
  return group;
}

function cell(score, range) {
  const node = make("td", {}, digits(score ? score.value : null));
  const text = spanText(score);
  if (text) {
    node.append(make("span", { class: "span" }, text));
    const svg = draw("svg", { width: 110, height: 12, "aria-hidden": "true" });
    svg.append(draw("line", { class: "axis", x1: 0, x2: 110, y1: 6, y2: 6 }), bar(score, range, 110, 12));
    node.append(svg);
  }
  return node;
}

function forest(rows) {
  const left = 230, width = 460, height = 22 * rows.length + 26, range = limits(rows.map(row => row.score));
  const svg = draw("svg", { width: left + width + 190, height, role: "img" });
  rows.forEach((row, index) => {
    const y = 14 + 22 * index;
    svg.append(draw("text", { x: 0, y: y + 4 }, row.name.length > 32 ? row.name.slice(0, 31) + "…" : row.name));
    svg.append(draw("line", { class: "axis", x1: left, x2: left + width, y1: y, y2: y }));
    const shifted = draw("g", { transform: `translate(${left},0)` });
    shifted.append(bar(row.score, range, width, 22, y, row.reference ? "reference" : ""));
    svg.append(shifted);
    const value = row.score && row.score.value !== null ? `${digits(row.score.value)} ${spanText(row.score)}` : "–";
    svg.append(draw("text", { x: left + width + 10, y: y + 4 }, value));
  });
  svg.append(draw("text", { x: left, y: height - 2 }, digits(range[0])));
  svg.append(draw("text", { x: left + width - 30, y: height - 2 }, digits(range[1])));
  return make("div", { class: "scroll" }, svg);
}

// --- a suite -----------------------------------------------------------------------------------------------------------

function compareEntries(board) {
  const metric = board.metrics.find(m => m.name === state.sort);
  const value = entry => state.sort === "rank" ? entry.rank : state.sort === "entry" ? entry.name
    : (entry.scores[state.sort] || { value: null }).value;
  const sign = state.down ? 1 : -1;
  const best = metric && metric.better === "higher" ? -1 : 1;
  return (a, b) => {
    if ((a.list === "reported") !== (b.list === "reported")) return a.list === "reported" ? 1 : -1;  // never above the others
    const x = value(a), y = value(b);
    if (x === null || y === null) return (x === null) - (y === null);  // what says nothing comes last, either way
    return sign * best * (x < y ? -1 : x > y ? 1 : 0);
  };
}

function shownEntries(board) {
  const words = state.filter.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = entry => words.every(word => `${entry.name} ${entry.kind}`.toLowerCase().includes(word))
    && (!state.kind || entry.kind === state.kind);
  const found = board.entries.filter(fits);
  return state.sort ? [...found].sort(compareEntries(board)) : found;
}

function sortButton(board, key, label, below) {
  const mark = state.sort === key ? (state.down ? " ▾" : " ▴") : "";
  const press = () => {
    state.down = state.sort === key ? !state.down : true;
    state.sort = key;
    fill(board);
  };
  const head = make("th", { "aria-sort": state.sort === key ? (state.down ? "descending" : "ascending") : "none" },
    make("button", { on: { click: press }, "data-sort": key }, label + mark));
  if (below) head.append(make("small", {}, below));
  return head;
}

function shownMetrics(board) {
  return state.all ? board.metrics : board.metrics.slice(0, PRIMARY);
}

const COLUMNS = [
  ["parameters", entry => entry.about.parameters === null || entry.about.parameters === undefined ? "–"
    : `${(entry.about.parameters / 1e6).toPrecision(3)} M`],
  ["s / clip", entry => digits(entry.about.seconds_per_clip)],
  ["training data", entry => entry.about.training_data || "–"],
  ["licence", entry => entry.about.licence || "–"],
  ["date", entry => entry.about.date || "–"],
];

function about(entry) {
  return COLUMNS.map(([, text]) => make("td", { class: "soft" }, String(text(entry))));
}

function fill(board) {
  const head = make("tr", {}, sortButton(board, "rank", "rank"), sortButton(board, "entry", "entry"),
    ...shownMetrics(board).map(m => sortButton(board, m.name, m.name, m.better === "higher" ? "higher is better" : "lower is better")),
    ...COLUMNS.map(([name]) => make("th", {}, name)));
  const ranges = shownMetrics(board).map(m => limits(board.entries.map(entry => entry.scores[m.name])));
  const tied = entry => board.entries.some(other => other !== entry && other.rank === entry.rank && entry.rank !== null);
  const rows = shownEntries(board).map(entry => make("tr", { class: entry.reference ? "reference" : "", "data-entry": entry.slug },
    make("td", { title: tied(entry) ? "tied" : entry.why }, entry.rank === null ? entry.list : `${entry.rank}${tied(entry) ? "=" : ""}`),
    make("td", { class: "name" }, make("a", { href: address(board, entry) }, entry.name),
      make("span", { class: "span" }, `${entry.kind}, ${entry.runs.length} seed${entry.runs.length > 1 ? "s" : ""}, `
        + `${entry.runs.reduce((sum, run) => sum + run.clips, 0)} clips`
        + (entry.failed ? `, failed on ${entry.failed} clips` : "")),
      ...entry.flags.map(text => make("span", { class: "span flag" }, `⚑ ${text}`))),
    ...shownMetrics(board).map((m, i) => cell(entry.scores[m.name], ranges[i])), ...about(entry)));
  const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
  document.getElementById("table").replaceChildren(table);
  chart(board);
}

function chart(board) {
  const name = document.getElementById("metric").value;
  const metric = board.metrics.find(m => m.name === name);
  const rows = shownEntries(board).map(e => ({ name: e.name, score: e.scores[name], reference: e.reference }));
  document.getElementById("chart").replaceChildren(make("p", { class: "soft" }, metric.about), forest(rows));
}

function showBoard(board) {
  Object.assign(state, { sort: null, down: true, filter: "", kind: "", all: false });
  const kinds = [...new Set(board.entries.map(entry => entry.kind))];
  main.replaceChildren(
    make("h2", {}, board.name), make("p", {}, board.about),
    make("p", { class: "soft" }, `${board.clips} clips per seed; judged by ${board.judges.join(", ") || "no network"}; `
      + `${Math.round(100 * board.level)} % percentile-bootstrap intervals over clips. Ranked by ${board.metrics[0].name}. ${board.rule} “=” marks ties.`),
    make("p", { class: "soft" }, "Reproduced entries can be made again from this repository and are ranked; reported ones pass all "
      + "checks, but nobody here can make their clips: they stand under the others, without a rank."),
    make("div", { class: "tools" },
      make("input", { id: "filter", type: "search", placeholder: "filter entries", "aria-label": "filter entries",
        on: { input: event => { state.filter = event.target.value; fill(board); } } }),
      make("select", { id: "kind", "aria-label": "kind", on: { change: event => { state.kind = event.target.value; fill(board); } } },
        make("option", { value: "" }, "all kinds"), ...kinds.map(kind => make("option", { value: kind }, kind))),
      make("button", { id: "all", on: { click: () => { state.all = !state.all; fill(board); } } }, "all metrics")),
    make("div", { id: "table", class: "scroll" }),
    make("h3", {}, "Intervals"),
    make("select", { id: "metric", "aria-label": "metric", on: { change: () => chart(board) } },
      ...board.metrics.map(m => make("option", { value: m.name }, m.name))),
    make("div", { id: "chart" }));
  fill(board);
}

// --- an entry ----------------------------------------------------------------------------------------------------------

function film(title, run) {
  const video = make("video", { src: run.film, muted: "", loop: "", playsinline: "", preload: "auto" });
  video.muted = true;
  return make("figure", {}, video, make("figcaption", {}, title));
}

function films(board, entry) {
  const truth = board.entries.find(other => other.slug === "truth");
  const runs = entry.runs.filter(run => run.film);
  if (!runs.length) return [];
  const pair = make("div", { class: "pair", id: "films" });
  const play = make("button", { id: "play" }, "play in sync");
  const all = () => [...pair.querySelectorAll("video")];
  const stop = () => { all().forEach(video => video.pause()); play.textContent = "play in sync"; };
  const show = run => {
    stop();
    const beside = truth && truth !== entry && truth.runs.find(other => other.seed === run.seed && other.film);
    pair.replaceChildren(...(beside ? [film("truth", beside)] : []), film(entry.name, run));
  };
  play.addEventListener("click", () => {
    if (play.textContent !== "play in sync") return stop();
    all().forEach(video => { video.currentTime = 0; });
    all().forEach(video => video.play());
    play.textContent = "pause";
  });
  pair.addEventListener("timeupdate", () => {  // media events do not bubble, so this one is caught on the way down
    const [first, ...rest] = all();
    rest.forEach(video => { if (Math.abs(video.currentTime - first.currentTime) > 0.2) video.currentTime = first.currentTime; });
  }, true);
  const choose = make("select", { id: "seed", "aria-label": "seed", on: { change: e => show(runs[Number(e.target.value)]) } },
    ...runs.map((run, index) => make("option", { value: index }, `seed ${run.seed}`)));
  show(runs[0]);
  return [make("h3", {}, "Clips"), make("p", { class: "soft" }, `${runs[0].shown.length} clips one after the other, `
    + "chosen by their actions alone."), make("div", { class: "tools" }, play, choose), pair];
}

function scoresOf(board, entry) {
  const nodes = [make("h3", {}, "Scores")];
  for (const metric of board.metrics) {
    const score = entry.scores[metric.name];
    const rows = [{ name: metric.name, score }];
    for (const [group, part] of Object.entries((score && score.groups) || {})) rows.push({ name: `  ${group}`, score: part });
    nodes.push(make("p", {}, make("strong", {}, metric.name), ` (${metric.better} is better) `, make("span", { class: "soft" }, metric.about),
      score && score.iqm !== undefined ? make("span", { class: "soft" }, ` Interquartile mean ${digits(score.iqm)}.`) : ""));
    nodes.push(forest(rows));
  }
  return nodes;
}

function showEntry(board, entry) {
  const facts = run => make("dl", { class: "facts" }, ...Object.entries(run.facts).filter(([, value]) => value !== null)
    .flatMap(([key, value]) => [make("dt", {}, key), make("dd", {}, String(value))]));
  main.replaceChildren(
    make("p", {}, make("a", { href: address(board) }, `← ${board.name}`)),
    make("h2", {}, entry.name),
    make("p", { class: "soft" }, `${entry.kind}; ` + (entry.rank === null ? "not ranked" : `rank ${entry.rank}`) + `; ${entry.list}: ${entry.why}`
      + (entry.failed ? `; failed on ${entry.failed} clips, so its means are holes` : "")),
    ...entry.flags.map(text => make("p", { class: "flag" }, `⚑ ${text}`)),
    ...(/^https:\/\//.test(entry.about.link || "") ? [make("p", {}, make("a", { href: entry.about.link, rel: "nofollow noopener" }, entry.about.link))] : []),
    ...entry.runs.flatMap(run => run.failures.map(text => make("p", {}, make("code", {}, text)))),
    ...films(board, entry), ...scoresOf(board, entry),
    make("h3", {}, "Where it comes from"),
    ...entry.runs.map(run => make("details", { open: entry.runs.length === 1 ? "" : null },
      make("summary", {}, `seed ${run.seed}, ${run.clips} clips`), facts(run))));
}

// --- which page --------------------------------------------------------------------------------------------------------

function route() {
  let parts = [];
  try { parts = location.hash.slice(1).split("/").filter(Boolean).map(decodeURIComponent); } catch (error) { parts = []; }
  const board = boards.find(one => one.name === parts[0]) || boards[0];
  document.getElementById("suites").replaceChildren(...boards.map(one =>
    make("a", { href: address(one), "aria-current": one === board ? "page" : null }, one.name)));
  if (!board) { main.replaceChildren(make("p", {}, "No results yet.")); return; }
  const entry = board.entries.find(one => one.slug === parts[1]);
  if (entry) showEntry(board, entry); else showBoard(board);
  window.scrollTo(0, 0);
}

window.addEventListener("hashchange", route);
route();
