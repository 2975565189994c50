// The pictures of a study: window, zoom, slices, layers, a second picture beside. The service draws; this moves and asks.
import { ask, flash, typing, words } from "./ask.js";
import { Pane, fill, plain } from "./pane.js";

const element = document.getElementById("viewer");
const data = words("viewer-data");
const say = words("viewer-words");
const $ = (id) => document.getElementById(id);
const STEP = 1.25;

class Viewer {
  constructor() {
    this.main = new Pane(element.querySelector('[data-pane="main"]'), this, data);
    this.second = new Pane(element.querySelector('[data-pane="beside"]'), this, null);
    this.active = this.main;
    this.mode = ""; // what is beside: "", "beside" or "prior"
    this.tools = new Map();
    this.tool = "window";
    this.on = false;
    this.style = "map";
    this.chosen = "0";
    this.opacity = 0.5;
    this.asked = new Map(); // case-place → what was drawn
    this.priors = new Map();
  }

  // For the verdict panel: see the head of each --------------------------------------------------------------------

  get at() {
    const { kase, slice } = this.main;
    const one = kase.slices[slice - 1];
    return { case: kase.number, slice, slices: kase.slices.length, sop: one.sop, frame: one.frame, rows: one.rows, columns: one.columns,
      spacing: kase.spacing };
  }
  get overlay() { return this.main.own; }
  get pixel() { return this.main.perColumn; }
  get layers() { return { on: this.on }; }
  toImage(x, y) { return this.main.toImage(x, y); }
  toScreen(x, y) { return this.main.toScreen(x, y); }
  redraw() { this.main.resize(); this.second.resize(); }
  addTool(name, tool) { this.tools.set(name, tool); }

  use(name) {
    this.tool = name;
    element.dataset.tool = name;
    for (const pane of [this.main, this.second]) pane.area.style.cursor = this.tools.get(name)?.cursor ?? "";
    for (const button of element.querySelectorAll("[data-use]")) button.setAttribute("aria-pressed", String(button.dataset.use === name));
    this.tell("tool", { name });
  }

  async show({ case: number = this.main.kase.number, slice = undefined } = {}) {
    const kase = data.cases.find((one) => one.number === number);
    if (!kase) return;
    const other = kase !== this.main.kase;
    this.main.open(data, kase, slice ?? (other ? kase.first : this.main.slice));
    if (this.mode === "beside") this.second.open(data, kase, this.main.slice, this.main);
    if (other) {
      this.chosen = "0";
      if ($("case")) $("case").value = String(number);
      this.presets();
      await this.draw();
    }
    await this.main.settled;
  }

  /** What AI outlined for one result: asked for once. */
  async regions(number, place) {
    const key = `${number}-${place}`;
    if (!this.asked.has(key)) this.asked.set(key, ask(`${data.root}/layers/${number}/${place}.json`).then((answer) => answer.json()));
    try {
      return await this.asked.get(key);
    } catch (error) {
      this.asked.delete(key);
      throw error;
    }
  }

  tell(name, detail) {
    element.dispatchEvent(new CustomEvent(`viewer-${name}`, { bubbles: true, detail }));
  }

  // What panes tell --------------------------------------------------------------------------------------------------

  moved(pane) {
    if (this.mode === "beside") (pane === this.main ? this.second : this.main).follow(pane);
    if (pane === this.active) this.controls();
    if (pane === this.main || this.mode === "beside") this.tell("view", { scale: this.main.perColumn });
  }

  turned(pane) {
    if (this.mode === "beside") (pane === this.main ? this.second : this.main).follow(pane);
    if (pane === this.main || this.mode === "beside") {
      const { case: number, slice, sop, frame } = this.at;
      this.paint();
      this.tell("slice", { case: number, slice, sop, frame });
    }
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.speak(pane.place(say.slice)), 500);
  }

  controls() {
    const pane = this.active;
    $("zoom").textContent = `${Math.round(100 * pane.perColumn)} %`;
    $("zoom").setAttribute("aria-label", fill(say.zoom, { percent: `${Math.round(100 * pane.perColumn)} %` }));
    element.querySelector('[data-do="invert"]').setAttribute("aria-pressed", String(pane.inverted));
    const window_ = pane.window ?? pane.told?.window;
    for (const [id, value] of [["centre", window_?.[0]], ["width", window_?.[1]]]) {
      const box = $(id);
      box.disabled = !window_ || Boolean(pane.told?.colour);
      if (document.activeElement !== box) box.value = window_ ? Number(value.toPrecision(5)) : "";
    }
    this.presets();
  }

  presets() {
    const pane = this.active;
    const list = $("preset");
    const offered = pane.told?.presets ?? [];
    const options = [new Option(say.asSent, ""), ...offered.map((one, place) => new Option(one.name, String(place)))];
    const now = pane.window ? offered.findIndex((one) => String(one.window) === String(pane.window)) : -1;
    if (pane.window && now < 0) options.push(new Option(say.own, "own"));
    const wanted = options.map((one) => one.text).join("|");
    if (list.dataset.wanted !== wanted) {
      list.replaceChildren(...options);
      list.dataset.wanted = wanted;
    }
    list.value = pane.window ? (now < 0 ? "own" : String(now)) : "";
  }

  activate(pane) {
    if (this.active === pane) return;
    this.active = pane;
    this.controls();
  }

  speak(sentence) {
    clearTimeout(this.soon);  // which slice it is, said a little later, would overwrite what was just done
    $("viewer-said").textContent = sentence;
  }

  // Layers -------------------------------------------------------------------------------------------------------------

  async toggleLayers(force = !this.on) {
    if (!this.main.kase.layers.length) {
      this.speak(say.none);
      flash(say.none);
      return;
    }
    this.on = force;
    await this.draw();
    this.tell("layers", { on: this.on });
    this.speak(this.on ? fill(say.on, { words: this.described ?? "" }) : say.off);
  }

  /** Fetch what there is to draw for these images, fill the choices, and draw it. */
  async draw() {
    const number = this.main.kase.number;
    const places = this.main.kase.layers;
    $("layer-tools").hidden = !places.length;
    this.drawn = [];
    if (this.on && places.length) {
      try {
        for (const place of places) {
          const told = await this.regions(number, place);
          for (const one of told.maps) this.drawn.push({ place, kind: "map", one });
          if (told.masks.length) this.drawn.push({ place, kind: "masks", masks: told.masks });
        }
      } catch {
        this.on = false;
        flash(say.failed, "stop");
      }
    }
    if (number !== this.main.kase.number) return; // other images were opened meanwhile
    const list = $("layer");
    list.replaceChildren(...this.drawn.map((one, place) => new Option(one.kind === "map" ? one.one.label : one.masks.map((mask) => mask.label).join(", "), String(place))));
    list.hidden = this.drawn.length < 2;
    if (!this.drawn[Number(this.chosen)]) this.chosen = "0";
    list.value = this.chosen;
    this.paint();
  }

  get layer() { return this.on ? this.drawn?.[Number(this.chosen)] : undefined; }

  paint() {
    const now = this.layer;
    const pane = this.main;
    const heat = now?.kind === "map" && this.style === "map";
    pane.heat(heat ? now.one.image : "", this.opacity);
    if (now?.kind === "map") pane.lines([{ outline: [now.one.outline], colour: "", dashes: "" }], 1);
    else if (now?.kind === "masks") pane.lines(now.masks.map((mask) => ({ outline: mask.slices[pane.slice] ?? [], colour: mask.colour, dashes: mask.dashes })), this.opacity);
    else pane.lines([], 1);
    element.querySelector('[data-do="layers"]').setAttribute("aria-pressed", String(this.on));
    for (const button of document.querySelectorAll("[data-layers-of]")) {
      const mine = this.on && Number(button.dataset.case) === pane.kase.number && Number(button.dataset.layersOf) === now?.place;
      button.setAttribute("aria-pressed", String(mine));
      const line = button.closest(".result").querySelector("[data-layer-words]");
      if (line) line.textContent = mine ? this.sentence(now) : "";
    }
    $("layer-more").hidden = !now;
    $("layer-style").hidden = now?.kind !== "map";
    for (const button of element.querySelectorAll("[data-style]")) button.setAttribute("aria-pressed", String(button.dataset.style === this.style));
    this.legend(now, heat);
  }

  legend(now, heat) {
    this.described = now ? this.sentence(now) : "";
    $("layer-off").hidden = Boolean(now);
    $("ramp-row").hidden = !heat;
    if (heat) $("ramp-top").textContent = plain(now.one.top, 2);
    $("legend-labels").replaceChildren(...(now?.masks ?? []).map((mask) => {
      const item = document.createElement("li");
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
      for (const [key, value] of [["width", 28], ["height", 8], ["aria-hidden", "true"]]) svg.setAttribute(key, value);
      for (const [key, value] of [["d", "M1 4H27"], ["stroke", mask.colour], ["stroke-dasharray", mask.dashes || "none"]]) line.setAttribute(key, value);
      svg.append(line);
      item.append(svg, mask.slices[this.main.slice] ? mask.label : `${mask.label} (${say.here})`);
      return item;
    }));
  }

  sentence(now) {
    return now.kind === "map" ? `${now.one.label}. ${now.one.words}` : now.masks.map((mask) => `${mask.label}. ${mask.words}`).join(" ");
  }

  // Beside -------------------------------------------------------------------------------------------------------------

  async beside(mode, key = $("prior")?.value) {
    const wanted = this.mode === mode && mode !== "" && !(mode === "prior" && this.priorKey !== key) ? "" : mode;
    if (wanted === "prior") {
      try {
        if (!this.priors.has(key)) this.priors.set(key, await (await ask(`/review/studies/${key}/images.json`)).json());
      } catch {
        flash(say.failed, "stop");
        return;
      }
      this.priorKey = key;
    }
    this.mode = wanted;
    this.second.root.hidden = !wanted;
    for (const name of ["beside", "prior"]) element.querySelector(`[data-do="${name}"]`)?.setAttribute("aria-pressed", String(wanted === name));
    if ($("prior")) $("prior").hidden = wanted !== "prior" || $("prior").options.length < 2;
    if (!wanted) this.activate(this.main);
    this.main.resize();
    this.second.resize();
    if (wanted === "beside") {
      this.second.named = say.beside;
      this.second.open(data, this.main.kase, this.main.slice, this.main);
    } else if (wanted === "prior") {
      const prior = this.priors.get(key);
      this.second.named = fill(say.prior, { day: prior.day });
      const like = prior.cases.find((one) => one.modality === this.main.kase.modality) ?? prior.cases[0];
      this.second.open(prior, like, like.first);
    }
    if (wanted) this.speak(this.second.named);
  }

  // What is pressed ----------------------------------------------------------------------------------------------------

  do(name) {
    const pane = this.active;
    if (name === "in") pane.zoom(STEP);
    else if (name === "out") pane.zoom(1 / STEP);
    else if (name === "fit") pane.fit();
    else if (name === "invert") { pane.invert(); this.speak(pane.inverted ? say.inverted : say.plain); }
    else if (name === "layers") this.toggleLayers();
    else if (name === "beside" || name === "prior") this.beside(name);
  }

  next(by) {
    const place = data.cases.indexOf(this.main.kase) + by;
    if (data.cases[place]) this.show({ case: data.cases[place].number });
  }

  preset() {
    const list = $("preset");
    list.selectedIndex = (list.selectedIndex + 1) % list.options.length;
    list.dispatchEvent(new Event("change"));
    this.speak(list.options[list.selectedIndex].text);
  }

  fade(by) {
    this.opacity = Math.min(1, Math.max(0, this.opacity + by));
    $("opacity").value = String(Math.round(100 * this.opacity));
    this.paint();
  }

  key(event) {
    if (typing(event) || event.defaultPrevented) return;
    const pane = this.active;
    const inside = event.target === document.body || event.target.closest?.(".area");
    const letters = { h: () => this.toggleLayers(), b: () => this.beside("beside"), p: () => $("prior") && this.beside("prior"), i: () => this.do("invert"),
      m: () => this.on && this.choose(this.style === "map" ? "outline" : "map"), w: () => this.preset(), o: () => this.fade(-0.1), O: () => this.fade(0.1),
      "+": () => pane.zoom(STEP), "=": () => pane.zoom(STEP), "-": () => pane.zoom(1 / STEP), 0: () => pane.fit(), "à": () => pane.fit(),
      "[": () => this.next(-1), ",": () => this.next(-1), "]": () => this.next(1), ".": () => this.next(1), ";": () => this.next(1) };
    const far = event.shiftKey ? 40 : 0;
    const places = { PageUp: () => pane.turn(-1), PageDown: () => pane.turn(1), Home: () => pane.turn(-1e6), End: () => pane.turn(1e6),
      ArrowLeft: () => (far ? pane.move(far, 0) : pane.nudge(0, -1)), ArrowRight: () => (far ? pane.move(-far, 0) : pane.nudge(0, 1)),
      ArrowUp: () => (far ? pane.move(0, far) : pane.nudge(1, 0)), ArrowDown: () => (far ? pane.move(0, -far) : pane.nudge(-1, 0)) };
    if (event.key === "Escape" && this.tool !== "window") this.use("window");
    else if (letters[event.key] && !event.repeat) letters[event.key]();
    else if (letters[event.key] && /[-+=oO]/.test(event.key)) letters[event.key]();
    else if (places[event.key] && inside) places[event.key]();
    else return;
    event.preventDefault();
  }

  choose(style) {
    this.style = style;
    this.paint();
  }

  listen() {
    document.addEventListener("keydown", (event) => this.key(event));
    element.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do], [data-use], [data-style]");
      if (!button) return;
      if (button.dataset.do) this.do(button.dataset.do);
      else if (button.dataset.use) this.use(button.dataset.use);
      else this.choose(button.dataset.style);
    });
    document.addEventListener("click", async (event) => {
      const button = event.target.closest("[data-layers-of], [data-show-case]");
      if (!button) return;
      const number = Number(button.dataset.case ?? button.dataset.showCase);
      if (number !== this.main.kase.number) await this.show({ case: number });
      if (!button.dataset.layersOf) return;
      const mine = button.getAttribute("aria-pressed") === "true";
      await this.toggleLayers(!mine);
      const place = this.drawn.findIndex((one) => one.place === Number(button.dataset.layersOf));
      if (!mine && place >= 0 && this.chosen !== String(place)) {
        this.chosen = $("layer").value = String(place);
        this.paint();
      }
    });
    $("case")?.addEventListener("change", (event) => this.show({ case: Number(event.target.value) }));
    $("layer").addEventListener("change", (event) => { this.chosen = event.target.value; this.paint(); this.speak(this.described); });
    $("opacity").addEventListener("input", (event) => { this.opacity = Number(event.target.value) / 100; this.paint(); });
    $("prior")?.addEventListener("change", (event) => this.beside("prior", event.target.value));
    $("preset").addEventListener("change", (event) => {
      const one = this.active.told?.presets[Number(event.target.value)];
      if (event.target.value !== "own") this.active.look(event.target.value === "" ? null : one.window);
    });
    for (const id of ["centre", "width"]) {
      $(id).addEventListener("change", () => {
        const centre = Number($("centre").value);
        const width = Number($("width").value);
        const kind = (this.active.window ?? this.active.told?.window ?? [])[2] ?? "linear";
        if (Number.isFinite(centre) && width >= (kind === "linear" ? 1 : 1e-6)) this.active.look([centre, width, kind]);
        else this.controls();
      });
    }
    new ResizeObserver(() => this.redraw()).observe(element.querySelector(".panes"));
  }

  async start() {
    element.querySelector(".bar").hidden = false;
    this.use("window");
    this.listen();
    const first = data.cases[0];
    this.main.adopt(first, first.first);
    this.on = !data.hidden && data.cases.some((one) => one.layers.length);
    await this.draw();
    if (document.activeElement === document.body && !location.hash) this.main.area.focus({ preventScroll: true });
  }
}

const viewer = new Viewer();
element.viewer = viewer;
element.classList.add("ready");
viewer.start();
viewer.tell("ready", viewer);
