// What every page does: colours, the list of keys, dialogs, menus that close, forms that are sent once.
import { flash, typing } from "./ask.js";

const root = document.documentElement;

function colours() {
  const button = document.getElementById("theme-button");
  if (!button) return;
  const order = ["auto", "light", "dark"];
  const say = () => {
    const now = root.dataset.theme ?? "auto";
    const said = `${button.dataset.name}${root.lang === "fr" ? "\u00a0" : ""}: ${button.dataset[now]}`;
    document.getElementById("theme-said").textContent = said;
    button.title = said;
  };
  button.hidden = false;
  say();
  button.addEventListener("click", () => {
    const next = order[(order.indexOf(root.dataset.theme ?? "auto") + 1) % order.length];
    if (next === "auto") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      localStorage.setItem("diaphane-theme", next);
    } catch { /* kept for this page alone */ }
    say();
    flash(button.title);
  });
}

function help() {
  const list = document.getElementById("help");
  if (!list) return;
  document.getElementById("help-button").addEventListener("click", () => list.showModal());
  document.addEventListener("keydown", (event) => {
    if (event.key === "?" && !typing(event)) {
      event.preventDefault();
      list.showModal();
    }
  });
}

function dialogs() {
  document.addEventListener("click", (event) => {
    const opener = event.target.closest?.("[data-dialog]");
    if (opener) document.getElementById(opener.dataset.dialog)?.showModal();
    if (event.target.tagName === "DIALOG" && event.target.open) event.target.close(); // a click beside it
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
}

/** A form that was sent is not sent again by a second press; it is open again when the page comes back. */
function once() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || event.defaultPrevented) return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
  });
  addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent));
}

colours();
help();
dialogs();
once();
