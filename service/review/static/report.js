// The editor of a report: areas that grow with their text, marks that follow whose words they are, no change lost unawares.
const form = document.getElementById("report");
const unsaved = document.getElementById("unsaved");
const areas = [...form.querySelectorAll("textarea")];
const first = new Map(areas.map((area) => [area, area.value]));
const grows = CSS.supports("field-sizing", "content");
let sent = false;

const plain = (text) => text.split(/\s+/).filter(Boolean).join(" ");
const changed = () => areas.some((area) => plain(area.value) !== plain(first.get(area)));

function fit(area) {
  if (grows) return;
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + 2}px`;
}

/** A sentence somebody rewrote is theirs; word for word as before, it is again of who made it. */
function mark(area) {
  const line = area.closest(".line");
  const said = line.querySelector(".from-mark span");
  if (!said) return;
  said.dataset.first ??= said.textContent;
  line.dataset.origin ??= [...line.classList].find((name) => ["ai", "image", "person"].includes(name));
  const same = plain(area.value) === plain(first.get(area));
  line.classList.remove("ai", "image", "person");
  line.classList.add(same ? line.dataset.origin : "person");
  said.textContent = same ? said.dataset.first : form.dataset.yours;
  const drawn = line.querySelector(".from-mark use");
  drawn.dataset.first ??= drawn.getAttribute("href");
  drawn.setAttribute("href", same ? drawn.dataset.first : drawn.dataset.first.replace(/#.*/, "#person"));
  line.querySelector(".from-source")?.toggleAttribute("hidden", !same);
}

for (const area of areas) fit(area);
form.addEventListener("input", (event) => {
  fit(event.target);
  mark(event.target);
  const words = changed() ? form.dataset.changed : "";
  form.classList.toggle("unsaved", Boolean(words)); // the bar to save with stays in sight while there is something to save
  if (unsaved.textContent !== words) unsaved.textContent = words;
});
form.addEventListener("submit", () => { sent = true; });
addEventListener("beforeunload", (event) => { if (!sent && changed()) event.preventDefault(); });
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s") {
    event.preventDefault();
    form.requestSubmit(form.querySelector('[value="save"]'));
  }
});
