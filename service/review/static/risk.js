// What if: score through the model while a value is moved. What comes back is shown as hypothetical and kept nowhere.
import { ask, Asked, flash, typing } from "./ask.js";

const PAUSE_MS = 140;

function start(panel) {
  const form = panel.querySelector("form");
  const tried = document.getElementById("tried");
  const said = document.getElementById("tried-said");
  const send = document.getElementById("what-if-send");
  const rows = [...panel.querySelectorAll(".input")];
  let timer = 0;
  let running = null;

  send.hidden = true; // the model answers while one moves

  const field = (row) => row.querySelector("select, input[type=number]");
  const slider = (row) => row.querySelector("input[type=range]");
  const isChanged = (row) => field(row).value !== "" && !(row.dataset.value !== "" && Number(field(row).value) === Number(row.dataset.value));

  function mark() {
    for (const row of rows) row.classList.toggle("changed", isChanged(row));
    document.body.classList.toggle("hypothetical", rows.some(isChanged));
  }

  async function score() {
    running?.abort();
    running = new AbortController();
    const body = new URLSearchParams();
    for (const row of rows) if (isChanged(row)) body.set(field(row).name, field(row).value);
    mark();
    if (![...body.keys()].length) {
      tried.replaceChildren();
      said.textContent = panel.dataset.back;
      return;
    }
    tried.setAttribute("aria-busy", "true");
    try {
      const answer = await ask(panel.dataset.url, { method: "POST", body, headers: { "x-fragment": "1", accept: "text/html" }, signal: running.signal });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      tried.replaceChildren(...page.body.childNodes);
      said.textContent = [...tried.querySelectorAll("[data-said]")].map((one) => one.dataset.said).join(" ");
    } catch (error) {
      if (error.name === "AbortError") return;
      tried.replaceChildren();
      flash(error instanceof Asked ? error.message : String(error), "stop");
    } finally {
      tried.removeAttribute("aria-busy");
    }
  }

  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(score, PAUSE_MS);
  };

  for (const row of rows) {
    const range = slider(row);
    if (range) {
      range.hidden = false;
      range.addEventListener("input", () => {
        field(row).value = range.value;
        soon();
      });
      field(row).addEventListener("input", () => {
        if (field(row).value !== "") range.value = field(row).value;
        soon();
      });
    } else {
      field(row).addEventListener("change", soon);
    }
  }

  function reset() {
    running?.abort();
    clearTimeout(timer);
    for (const row of rows) {
      const whole = row.dataset.value;
      if (field(row).tagName === "SELECT") {
        for (const option of field(row).options) option.selected = whole === "" ? option.value === "" : option.value !== "" && Number(option.value) === Number(whole);
      } else {
        field(row).value = whole;
      }
      const range = slider(row);
      if (range) range.value = whole === "" ? (Number(range.min) + Number(range.max)) / 2 : whole;
    }
    mark();
    tried.replaceChildren();
    said.textContent = panel.dataset.back;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    score();
  });
  document.getElementById("what-if-reset").addEventListener("click", (event) => {
    event.preventDefault();
    reset();
  });
  document.addEventListener("keydown", (event) => {
    if (typing(event)) return;
    if (event.key === "w") {
      event.preventDefault();
      (slider(rows[0]) ?? field(rows[0])).focus();
      panel.scrollIntoView({ block: "nearest" });
    } else if (event.key === "0") {
      event.preventDefault();
      reset();
    }
  });
  mark();
}

const panel = document.getElementById("what-if");
if (panel) start(panel);
