// Verdicts in place: keys a, c and x, sending without leaving the page, values far from the model's, and regions on the image.

import { ask, flash, typing } from "./ask.js";
import { Drawing } from "./draw.js";

const IN_PLACE = { "x-diaphane-panel": "1", accept: "text/html" };
const KEYS = { a: "agree", c: "correct", x: "reject" };
const FAR = 3;
const drawings = { all: null };

const panels = () => [...document.querySelectorAll(".verdict")];
const formOf = (panel) => panel.querySelector(".verdict-form");

/** The panel that keys are for: the one in which one is, else the first that waits for a verdict, else the first. */
function active() {
  const open = panels().filter(formOf);
  return document.activeElement?.closest(".verdict") ?? open.find((panel) => !formOf(panel).dataset.settled) ?? open[0];
}

function choose(panel, decision) {
  const option = panel && formOf(panel)?.querySelector(`input[name="decision"][value="${decision}"]`);
  if (!option) return false;
  option.checked = true;
  option.dispatchEvent(new Event("change", { bubbles: true }));
  const part = panel.querySelector(`.verdict-part.${decision}`);
  (part?.querySelector("button[data-submit], button[name]") ?? option).focus();
  panel.scrollIntoView({ block: "nearest" });
  return true;
}

document.addEventListener("keydown", (event) => {
  if (typing(event) || event.shiftKey || event.repeat) return;
  const decision = KEYS[event.key];
  if (decision && choose(active(), decision)) event.preventDefault();
});

document.addEventListener("submit", async (event) => {
  const form = event.target.closest(".verdict-form");
  if (!form) return;
  event.preventDefault();
  if (form.dataset.sending) return;
  form.dataset.sending = "1";
  const error = form.querySelector(".verdict-error");
  error.hidden = true;
  try {
    const body = new URLSearchParams(new FormData(form, event.submitter));
    const answer = await ask(form.action, { method: "POST", body, headers: IN_PLACE });
    replace(form.closest(".verdict"), await answer.text());
  } catch (failed) {
    error.textContent = failed.message;
    error.hidden = false;
  } finally {
    delete form.dataset.sending;
  }
});

function replace(old, html) {
  const made = new DOMParser().parseFromString(html, "text/html").querySelector(".verdict");
  if (!made) return location.reload();
  drawings.all?.forget(old.dataset.verdict);
  old.replaceWith(made);
  begin(made);
  made.focus();
  const said = made.querySelector(".verdict-head .badge");
  flash(said ? said.textContent.trim() : "", "good");
  made.dispatchEvent(new CustomEvent("verdict-given", { bubbles: true, detail: { target: made.dataset.verdict } }));
  return made;
}

document.addEventListener("input", (event) => {
  const typed = event.target;
  if (!typed.matches?.(".verdict-value input[data-of-model]")) return;
  const value = Number(typed.value.trim().replace(/[\s\u00a0\u202f]/g, "").replace(",", "."));
  const model = Number(typed.dataset.ofModel);
  const [least, most] = [Math.min(Math.abs(value), Math.abs(model)), Math.max(Math.abs(value), Math.abs(model))];
  const far = typed.value.trim() !== "" && Number.isFinite(value) && most > FAR * least;
  typed.closest(".verdict-value").querySelector(".verdict-far").hidden = !far;
});

// Regions --------------------------------------------------------------------------------------------------------------

/** The drawing of the page, once there is a viewer; findings are named by panel and finding. */
class Regions {
  constructor(viewer) {
    this.drawing = new Drawing(viewer, (name) => this.count(name));
    document.getElementById("viewer").addEventListener("viewer-tool", (event) => {
      if (!String(event.detail?.name ?? "").startsWith("verdict-")) this.release();
    });
  }

  start(panel) {
    const drawn = panel.querySelector(".verdict-drawn");
    this.drawing.given.set(panel.dataset.verdict, drawn ? JSON.parse(drawn.textContent) : []);
    this.drawing.show();
    for (const box of panel.querySelectorAll(".verdict-draw")) {
      box.hidden = false;
      this.drawing.labels.set(nameOf(box), box.dataset.words);
      box.addEventListener("click", (event) => this.press(event, box));
    }
  }

  forget(target) {
    for (const name of [...this.drawing.regions.keys()]) if (name.startsWith(`${target} `)) this.drawing.clear(name);
  }

  press(event, box) {
    const button = event.target.closest("button");
    if (!button) return;
    const name = nameOf(box), onCase = Number(box.closest("[data-case]")?.dataset.case ?? 0);
    if (button.dataset.clear) this.drawing.clear(name);
    else if (button.dataset.place) this.drawing.place(name, onCase);
    else {
      const on = button.getAttribute("aria-pressed") !== "true";
      this.release();
      if (on) {
        button.setAttribute("aria-pressed", "true");
        box.closest(".verdict-finding").classList.add("drawing");
      }
      this.drawing.use(name, on ? button.dataset.tool : null, onCase);
    }
  }

  release() {
    for (const one of document.querySelectorAll(".verdict-draw [aria-pressed='true']")) one.setAttribute("aria-pressed", "false");
    for (const one of document.querySelectorAll(".verdict-finding.drawing")) one.classList.remove("drawing");
  }

  count(name) {
    for (const box of document.querySelectorAll(".verdict-draw")) {
      if (nameOf(box) !== name) continue;
      const regions = this.drawing.sent(name);
      box.querySelector("input[type='hidden']").value = regions.length ? JSON.stringify(regions) : "";
      box.querySelector("[data-clear]").hidden = regions.length === 0;
      box.querySelector(".verdict-count").textContent = regions.length ? `× ${regions.length}` : "";
      const absent = box.closest(".verdict-finding").querySelector("input[value='no']");
      if (regions.length && absent?.checked) box.closest(".verdict-finding").querySelector("input[value='yes']").checked = true;
    }
  }
}

const nameOf = (box) => `${box.closest(".verdict").dataset.verdict} ${box.dataset.draw}`;

function begin(panel) {
  if (drawings.all) drawings.all.start(panel);
}

function startDrawing(viewer) {
  if (drawings.all || !viewer) return;
  drawings.all = new Regions(viewer);
  panels().forEach(begin);
}

document.addEventListener("viewer-ready", (event) => startDrawing(event.detail));
startDrawing(document.getElementById("viewer")?.viewer);
