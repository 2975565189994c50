// The worklist: keys, filters without loading the page again, and lines that change while one reads, none of which moves.
import { ask, flash, typing, words } from "./ask.js";

const SETTLE_MS = 300, TICK_MS = 20_000, AGAIN_MS = 5_000, MOST_KEYS = 100;
const root = document.getElementById("worklist");
const said = words();
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const lines = () => [...root.querySelectorAll(".wl-open")];
const rowOf = (key) => root.querySelector(`.wl-line[data-key="${CSS.escape(key)}"]`);
const keyAt = () => document.activeElement?.closest?.(".wl-line")?.dataset.key ?? "";
const filters = () => new URLSearchParams(location.search);

// -- loading ------------------------------------------------------------------------------------------------------------------

let loading = null;

/** Show another view of the list; the latest wins. `at` is the line or the chip that has the focus afterwards. */
async function load(href, { push = true, at = {} } = {}) {
  loading?.abort();
  loading = new AbortController();
  const { signal } = loading;
  root.classList.add("wl-busy");
  root.setAttribute("aria-busy", "true");
  try {
    const url = new URL(href, location.href);
    const html = await (await ask(`/review/rows${url.search}`, { headers: { accept: "text/html" }, signal })).text();
    if (push) history.pushState(null, "", url.pathname + url.search);
    root.innerHTML = html; // ours, with everything escaped
    news.clear();
    told();
    if (at.chip) root.querySelector(`[data-chip="${CSS.escape(at.chip)}"]`)?.focus();
    else if (at.key !== undefined) (rowOf(at.key)?.querySelector(".wl-open") ?? lines()[0])?.focus();
    if (push && !at.chip) scrollTo({ top: 0 });
    return true;
  } catch (error) {
    if (error.name === "AbortError") return false;
    if (!root.querySelector(".notice")) root.prepend(document.getElementById("away").content.cloneNode(true));
    return false;
  } finally {
    if (!signal.aborted) {
      root.classList.remove("wl-busy");
      root.removeAttribute("aria-busy");
    }
  }
}

const first = () => {
  const params = filters();
  params.delete("after");
  params.delete("before");
  return `${location.pathname}?${params}`.replace(/\?$/, "");
};

async function again() {
  if (await load(first(), { push: location.search.includes("after=") || location.search.includes("before="), at: { key: keyAt() } })) flash(said.loaded);
}

root.addEventListener("click", (event) => {
  if (event.target.closest(".wl-news")) return void again();
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  if (link.classList.contains("wl-open")) remember(link.closest(".wl-line").dataset.key);
  if (new URL(link.href).pathname !== "/review") return;
  event.preventDefault();
  load(link.href, { at: link.dataset.chip ? { chip: link.dataset.chip } : { key: "" } });
});

root.addEventListener("change", (event) => {
  const form = event.target.closest(".wl-selects");
  if (!form) return;
  const params = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  load(`/review?${params}`, { at: { chip: event.target.dataset.chip } });
});

root.addEventListener("submit", async (event) => {
  const form = event.target.closest(".wl-search");
  if (!form) return;
  event.preventDefault();
  try {
    const answer = await ask("/review/search", { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { accept: "application/json" } });
    await load((await answer.json()).href, { at: { key: "" } });
    if (!lines().length) document.getElementById("wl-text").focus();
  } catch (error) {
    flash(error.message, "stop");
  }
});

addEventListener("popstate", () => load(location.href, { push: false }));

// -- keys ---------------------------------------------------------------------------------------------------------------------

const page = (which) => root.querySelector(`.pager a[rel="${which}"]`);

function move(step) {
  const all = lines();
  const at = all.findIndex((one) => one.closest(".wl-line").contains(document.activeElement));
  const next = at < 0 ? all[step > 0 ? 0 : all.length - 1] : all[at + step];
  if (next) next.focus();
  else if (at >= 0) (step > 0 ? page("next") : page("prev"))?.focus() ?? flash(said.none);
}

const KEYS = {
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
  J: () => page("next")?.click(), K: () => page("prev")?.click(),
  n: () => location.assign("/review/next"), r: again,
  f: () => root.querySelector("#wl-filters a")?.focus(),
  "/": () => document.getElementById("wl-text")?.select(),
};

document.addEventListener("keydown", (event) => {
  if (event.target.id === "wl-text" && (event.key === "Escape" || event.key === "ArrowDown")) {
    event.preventDefault();
    event.target.blur();
    if (event.key === "ArrowDown") move(1);
    return;
  }
  const work = KEYS[event.key];
  if (!work || typing(event)) return;
  event.preventDefault();
  work();
});

/** Coming back from a page, one goes on where one was. */
function remember(key) {
  try {
    sessionStorage.setItem("diaphane-line", key);
  } catch { /* then one begins at the top */ }
}
root.addEventListener("focusin", () => keyAt() && remember(keyAt()));

// -- time ---------------------------------------------------------------------------------------------------------------------

function tick() {
  for (const row of root.querySelectorAll(".wl-line")) {
    const time = row.querySelector(".since");
    if (!time) continue;
    const minutes = Math.max(0, Math.floor((Date.now() / 1000 - Number(row.dataset.since)) / 60));
    const [now, some, hours, days] = said.waited;
    const text = minutes < 1 ? now : minutes < 60 ? fill(some, { count: minutes })
      : minutes < 2880 ? fill(hours, { hours: Math.floor(minutes / 60), minutes: String(minutes % 60).padStart(2, "0") })
        : fill(days, { count: Math.floor(minutes / 1440).toLocaleString(document.documentElement.lang) });
    if (time.textContent !== text) time.textContent = text;
  }
}

// -- what changes while one reads -----------------------------------------------------------------------------------------------

const news = new Map(); // key → urgency of lines that are not shown yet
const changed = new Set();
let stream = null, heard = "", settling = 0;

function told() {
  heard = root.querySelector("[data-number]").dataset.number;
  const box = document.getElementById("wl-live");
  box.hidden = false;
  const more = root.querySelector(".wl-more");
  more.open = !matchMedia("(max-width: 48rem)").matches || "chosen" in more.dataset;
  live(stream?.readyState === EventSource.OPEN);
  bar();
}

function live(is) {
  const box = document.getElementById("wl-live");
  const text = is ? said.live : said.away;
  if (box.textContent !== text) box.textContent = text;
  box.classList.toggle("away", !is);
}

function bar() {
  const box = document.getElementById("wl-news");
  if (!news.size) return box.replaceChildren();
  const critical = [...news.values()].filter((urgency) => urgency === 3).length;
  const count = (texts, number) => fill(number === 1 ? texts[0] : texts[1], { count: number });
  const button = box.querySelector("button") ?? document.createElement("button");
  button.type = "button";
  button.className = `wl-news${critical ? " critical" : ""}`;
  button.textContent = count(said.news, news.size) + (critical ? ` · ${count(said.critical, critical)}` : "");
  if (!button.isConnected) box.append(button);
}

async function settle() {
  settling = 0;
  const keys = [...changed].slice(0, MOST_KEYS);
  for (const key of keys) changed.delete(key);
  const params = filters();
  for (const key of keys) params.append("key", key);
  let answer;
  try {
    answer = await (await ask(`/review/live?${params}`, { headers: { accept: "application/json" } })).json();
  } catch {
    return; // the next change, or the next stream, asks again
  }
  const body = document.createElement("tbody");
  body.innerHTML = answer.html;
  const found = new Map(answer.lines.map((one) => [one.key, { ...one, row: body.querySelector(`[data-key="${CSS.escape(one.key)}"]`) }]));
  for (const key of keys) show(key, found.get(key));
  bar();
  if (changed.size) settling ||= setTimeout(settle, SETTLE_MS);
}

/** Bring one line up to date where it stands; one that is new waits until it is asked for. */
function show(key, line) {
  const row = rowOf(key);
  if (!row) {
    if (line?.matches) news.set(key, line.urgency);
    else news.delete(key);
    return;
  }
  const focused = row.contains(document.activeElement);
  if (!line) { // erased, or not for these eyes any more: nothing of it stays on the screen
    const cell = document.createElement("td");
    cell.colSpan = 6;
    cell.className = "muted";
    cell.textContent = said.gone;
    row.replaceChildren(cell);
    row.removeAttribute("data-key");
    return;
  }
  line.row.classList.toggle("left", !line.matches);
  row.replaceWith(line.row);
  if (focused) line.row.querySelector(".wl-open").focus({ preventScroll: true });
}

function listen() {
  stream?.close();
  stream = new EventSource(`/review/events?after=${heard}`);
  stream.addEventListener("open", () => live(true));
  stream.addEventListener("change", (event) => {
    heard = event.lastEventId;
    const what = JSON.parse(event.data);
    for (const key of what.keys) changed.add(key);
    if (what.gap) for (const row of root.querySelectorAll(".wl-line[data-key]")) changed.add(row.dataset.key);
    if (what.gap) for (const key of news.keys()) changed.add(key);
    settling ||= setTimeout(settle, SETTLE_MS);
  });
  stream.addEventListener("error", async () => {
    live(false);
    if (stream.readyState !== EventSource.CLOSED) return; // it tries again by itself
    try {
      await ask("/review/live", { headers: { accept: "application/json" } }); // whoever is signed out goes to the login
    } catch { /* the service is away */ }
    setTimeout(() => !document.hidden && stream.readyState === EventSource.CLOSED && listen(), AGAIN_MS);
  });
}

// A browser opens six connections to one address: lists that nobody looks at must not take them all.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stream.close();
  else {
    tick();
    listen();
  }
});

document.documentElement.classList.add("with-script");
told();
tick();
setInterval(tick, TICK_MS);
listen();
try {
  rowOf(sessionStorage.getItem("diaphane-line") ?? "")?.querySelector(".wl-open").focus({ preventScroll: false });
} catch { /* one begins at the top */ }
