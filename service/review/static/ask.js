// Ask the service from a page, and say something to the person: what the scripts of all pages share.

const token = () => document.querySelector('meta[name="csrf-token"]')?.content ?? "";

/** Fetch an address of ours. A body that is an object goes as JSON. Throws Asked with the problem's words. */
export async function ask(url, { method = "GET", body = undefined, headers = {}, signal = undefined } = {}) {
  const sent = { accept: "application/json, text/html;q=0.9", ...headers };
  if (method !== "GET") sent["x-csrf-token"] = token();
  let content = body;
  if (body !== undefined && !(body instanceof FormData) && !(body instanceof URLSearchParams) && typeof body !== "string") {
    sent["content-type"] = "application/json";
    content = JSON.stringify(body);
  }
  const answer = await fetch(url, { method, body: content, headers: sent, signal, credentials: "same-origin" });
  if (answer.status === 401) {
    location.assign(`/review/login?next=${encodeURIComponent(location.pathname)}`);
  }
  if (!answer.ok) {
    const kind = answer.headers.get("content-type") ?? "";
    const problem = kind.includes("json") ? await answer.json() : {};
    throw new Asked(answer.status, problem.code ?? "", problem.detail ?? answer.statusText, problem);
  }
  return answer;
}

/** What went wrong: the status, the code for programs, and words for people. */
export class Asked extends Error {
  constructor(status, code, words, problem) {
    super(words);
    this.name = "Asked";
    this.status = status;
    this.code = code;
    this.problem = problem;
  }
}

/** Say something at the foot of the page; a screen reader says it too. tone: "", "good" or "stop". */
export function flash(words, tone = "") {
  const box = document.getElementById("flash");
  if (!box) return;
  const line = document.createElement("p");
  line.textContent = words;
  if (tone) line.className = tone;
  box.replaceChildren(line);
  if (tone !== "stop") setTimeout(() => line.remove(), 6000);
}

/** The words a page hands to its script: <script type="application/json" id="words">. */
export function words(id = "words") {
  const block = document.getElementById(id);
  return block ? JSON.parse(block.textContent) : {};
}

/** Whether a key press belongs to what is being typed into, and not to the page. */
export function typing(event) {
  const at = event.target;
  return event.ctrlKey || event.metaKey || event.altKey || at.isContentEditable
    || /^(TEXTAREA|SELECT)$/.test(at.tagName) || (at.tagName === "INPUT" && !/^(checkbox|radio|range|button|submit)$/.test(at.type))
    || Boolean(document.querySelector("dialog[open]"));
}
