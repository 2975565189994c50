// The department: fetched again every half minute, and left alone while somebody reads a table or the page is not looked at.
import { ask } from "./ask.js";

const EVERY_MS = 30_000;
const board = document.getElementById("board");

async function again() {
  if (document.hidden || board.contains(document.activeElement) || board.querySelector("details[open]")) return;
  try {
    const answer = await ask(location.href, { headers: { "x-fragment": "1", accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    board.replaceChildren(...page.body.childNodes);
  } catch { /* the next time */ }
}

setInterval(again, EVERY_MS);
