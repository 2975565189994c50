// One picture on the screen: where it lies, in which window, and the exact picture of it from the service, the latest wish first.
import { ask, words } from "./ask.js";
import { Hands } from "./hands.js";

const SIDES = [256, 512, 1024, 2048];
const KEPT = 48; // pictures kept decoded, so that scrolling back is at once
const LARGEST = 24; // screen pixels for one of the picture
const [LONG_MM, SVG] = [[1, 2, 5, 10, 20, 50, 100, 200], "http://www.w3.org/2000/svg"];
const say = words("viewer-words");
/** A sentence with its {places} filled. */
export const fill = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);

/** A number as the page's language writes it. */
export const plain = (value, digits = 0) => value.toLocaleString(document.documentElement.lang, { maximumFractionDigits: digits });

/** What a window does to 0-1: value → (value - centre) / width + 0.5, by PS3.3 C.11.2.1.2; null for a curve. */
function straight(window_) {
  if (!window_ || window_[2] === "sigmoid") return null;
  return window_[2] === "linear" ? [window_[0] - 0.5, Math.max(window_[1] - 1, 1e-6)] : [window_[0], window_[1]];
}

export class Pane {
  constructor(root, viewer, study) {
    Object.assign(this, { root, viewer, study, slice: 1, window: null, inverted: false, named: "", scale: 1, x: 0, y: 0, fitted: true });
    this.area = root.querySelector(".area");
    this.stage = root.querySelector(".stage");
    this.picture = root.querySelector(".picture");
    this.layer = root.querySelector(".layer");
    this.svg = root.querySelector(".lines");
    this.ai = root.querySelector(".ai");
    this.own = root.querySelector(".own");
    this.range = root.querySelector("input[type=range]");
    this.ready = new Map(); // address → a decoded picture
    this.values = new Map(); // tag → windows of the picture
    this.settled = Promise.resolve();
    this.greys = [...root.querySelectorAll("feComponentTransfer > *")];
    this.hands = new Hands(this);
  }

  // What is shown ------------------------------------------------------------------------------------------------------

  /** Take over the picture that stands in the page already. */
  adopt(kase, slice) {
    this.kase = kase;
    this.slice = slice;
    this.prepare();
    this.turned();
  }

  open(study, kase, slice, like = null) {
    const other = this.kase !== kase || this.study !== study;
    Object.assign(this, { study, kase, slice: Math.min(kase.slices.length, Math.max(1, slice)) });
    if (other) {
      this.told = undefined;
      this.window = null;
      this.fitted = true;
      this.prepare();
    }
    if (like) this.follow(like, true);
    else this.turned();
  }

  get one() { return this.kase.slices[this.slice - 1]; }
  get perColumn() { return this.scale * this.unit[0]; } // screen pixels for one of the picture

  /** Lengths, letters and the scroll bar of other images. */
  prepare() {
    const [row, column] = this.kase.spacing ?? [1, 1];
    const least = Math.min(row, column);
    this.unit = [column / least, row / least];
    this.svg.setAttribute("viewBox", `0 0 ${this.one.columns} ${this.one.rows}`);
    for (const edge of ["left", "right", "top", "bottom"]) {
      const told = this.kase.sides[edge];
      const place = this.area.querySelector(`.edge.at-${edge}`);
      place.textContent = told?.letters ?? "";
      place.hidden = !told;
      if (told) place.setAttribute("aria-label", fill(say.side, { edge: say.edges[edge], words: told.words }));
    }
    const count = this.kase.slices.length;
    this.range.max = String(count);
    this.range.closest(".scroll-row").hidden = count < 2;
    this.area.setAttribute("aria-label", [this.named, this.kase.alternative].filter(Boolean).join(". "));
    this.resize();
  }

  place(sentence) {
    const count = this.kase.slices.length;
    return count > 1 ? fill(sentence, { n: this.slice, count }) : this.kase.title;
  }

  /** Do as another pane does: the same slice, place, size and window. */
  follow(pane, always = false) {
    const turned = always || this.slice !== pane.slice;
    Object.assign(this, { slice: pane.slice, window: pane.window, inverted: pane.inverted, scale: pane.scale, x: pane.x, y: pane.y, fitted: pane.fitted });
    this.range.value = String(this.slice);
    this.layout();
    this.preview();
    this.load();
    if (turned) this.corners();
  }

  turn(by) {
    const slice = Math.min(this.kase.slices.length, Math.max(1, this.slice + by));
    if (slice === this.slice) return;
    this.towards = Math.sign(slice - this.slice);
    this.slice = slice;
    this.turned();
  }

  turned() {
    this.range.value = String(this.slice);
    this.range.setAttribute("aria-valuetext", this.place(say.slice));
    this.load();
    this.layout();
    this.viewer.turned(this);
    this.viewer.moved(this);
  }

  // Where it lies ------------------------------------------------------------------------------------------------------

  get box() { return this.area.getBoundingClientRect(); }
  resize() {
    if (!this.kase || this.root.hidden) return;
    if (this.fitted) this.fit(false);
    else this.layout();
  }

  fit(tell = true) {
    const { clientWidth, clientHeight } = this.area;
    if (!clientWidth || !clientHeight) return;
    const [ux, uy] = this.unit;
    this.scale = Math.min(clientWidth / (this.one.columns * ux), clientHeight / (this.one.rows * uy));
    this.x = (clientWidth - this.one.columns * ux * this.scale) / 2;
    this.y = (clientHeight - this.one.rows * uy * this.scale) / 2;
    this.fitted = true;
    this.layout();
    this.load();
    if (tell) this.viewer.moved(this);
  }

  /** Make it larger about a point of the area, its middle when none is given. */
  zoom(by, x = this.area.clientWidth / 2, y = this.area.clientHeight / 2) {
    const before = this.scale;
    const least = Math.min(this.area.clientWidth / (this.one.columns * this.unit[0]), this.area.clientHeight / (this.one.rows * this.unit[1])) / 4;
    this.scale = Math.min(LARGEST, Math.max(Math.min(least, 1), this.scale * by));
    this.x = x - (x - this.x) * (this.scale / before);
    this.y = y - (y - this.y) * (this.scale / before);
    this.fitted = false;
    this.layout();
    clearTimeout(this.larger);
    this.larger = setTimeout(() => this.load(), 120); // the wheel turns on: ask for more pixels when it rests
    this.viewer.moved(this);
  }

  move(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.fitted = false;
    this.layout();
    this.viewer.moved(this);
  }

  layout() {
    const width = this.one.columns * this.unit[0] * this.scale;
    const height = this.one.rows * this.unit[1] * this.scale;
    const { clientWidth, clientHeight } = this.area;
    this.x = Math.min(clientWidth - 40, Math.max(40 - width, this.x)); // never quite out of sight
    this.y = Math.min(clientHeight - 40, Math.max(40 - height, this.y));
    Object.assign(this.stage.style, { width: `${width}px`, height: `${height}px`, transform: `translate(${this.x}px, ${this.y}px)` });
    this.corners();
  }

  toImage(clientX, clientY) {
    const box = this.box;
    const x = (clientX - box.left - this.x) / (this.scale * this.unit[0]);
    const y = (clientY - box.top - this.y) / (this.scale * this.unit[1]);
    return { x, y, inside: x >= 0 && y >= 0 && x < this.one.columns && y < this.one.rows };
  }

  toScreen(x, y) {
    const box = this.box;
    return { x: box.left + this.x + x * this.scale * this.unit[0], y: box.top + this.y + y * this.scale * this.unit[1] };
  }

  // The window ---------------------------------------------------------------------------------------------------------

  /** Show it in a window: at once by what is on the screen, then exactly by the service. null is as sent. */
  look(window_) {
    this.window = window_;
    this.preview();
    this.load();
    this.corners();
    this.viewer.moved(this);
  }

  /** Change the window by shares of its width. */
  nudge(centre, width) {
    const now = this.window ?? this.told?.window;
    if (!now || this.told.colour) return;
    const step = Math.max(now[1], 1) / 20;
    this.look([now[0] + centre * step, Math.max(1, now[1] + width * step), now[2]]);
  }

  drag(dx, dy) {
    const now = this.window ?? this.told?.window;
    if (!now || this.told.colour) return;
    const step = Math.max(now[1], 1) / 250;
    const width = Math.max(now[2] === "linear" ? 2 : 1e-3, now[1] + dx * step);
    this.look([now[0] + dy * step, width, now[2]]);
  }

  invert() {
    this.inverted = !this.inverted;
    this.preview();
    this.viewer.moved(this);
  }

  /** Approach the wished window from the picture on the screen, which may be in another, until the exact one is here. */
  preview() {
    let slope = 1;
    let intercept = 0;
    const from = straight(this.shownIn ?? this.told?.window);
    const to = straight(this.window ?? this.told?.window);
    if (from && to && !this.told?.table && !this.told?.colour && this.shownAs !== this.wish()) {
      slope = from[1] / to[1];
      intercept = (from[0] - to[0] - 0.5 * from[1]) / to[1] + 0.5;
      if (this.told.inverted) intercept = 1 - slope - intercept;
    }
    if (this.inverted) [slope, intercept] = [-slope, 1 - intercept];
    for (const one of this.greys) {
      one.setAttribute("slope", String(slope));
      one.setAttribute("intercept", String(intercept));
    }
    this.picture.style.filter = slope === 1 && intercept === 0 ? "" : `url(#greys-${this.root.dataset.pane})`;
  }

  // Pictures from the service ------------------------------------------------------------------------------------------

  /** The smallest size that is enough for the screen; 0 is the picture as it is. */
  get side() {
    const longest = Math.max(this.one.columns, this.one.rows);
    const need = Math.max(this.one.columns * this.unit[0], this.one.rows * this.unit[1]) * this.scale * (globalThis.devicePixelRatio || 1) * 0.9;
    return SIDES.find((side) => side >= need && side < longest) ?? 0;
  }

  address(slice = this.slice) {
    const asked = this.window ?? (this.kase.slices.length > 1 && this.told && !this.told.table && !this.told.colour ? this.told.window : null);
    const window_ = asked ? `&window=${asked[0]},${asked[1]},${asked[2]}` : "";
    return `${this.study.root}/images/${this.kase.number}/${slice}.png?size=${this.side}${window_}&v=${this.kase.slices[slice - 1].tag}`;
  }

  wish() { return String(this.window ?? this.told?.window ?? ""); }
  /** Bring the picture that is wished for now. One is under way at a time; of the wishes meanwhile only the last counts. */
  load() {
    if (!this.kase || this.root.hidden) return;
    const address = this.address();
    if (address === this.shownAddress) return;
    if (this.ready.has(address)) {
      this.put(address, this.ready.get(address));
      return;
    }
    if (this.busy) return;
    this.busy = true;
    this.settled = this.fetch(address).then((picture) => {
      if (this.kase.slices[this.slice - 1].tag === new URL(address, location.href).searchParams.get("v")) this.put(address, picture);
      this.failed(false);
    }, () => this.failed(address === this.address())).finally(() => {
      this.busy = false;
      if (this.address() !== address) this.load();
      else this.ahead();
    });
  }

  async fetch(address) {
    const picture = new Image();
    picture.className = "picture";
    picture.draggable = false;
    picture.src = address;
    await picture.decode();
    this.ready.set(address, picture);
    if (this.ready.size > KEPT) this.ready.delete(this.ready.keys().next().value);
    return picture;
  }

  put(address, picture) {
    picture.alt = this.area.getAttribute("aria-label");
    this.picture.replaceWith(picture);
    this.picture = picture;
    this.shownAddress = address;
    this.shownIn = this.window ?? this.told?.window;
    this.shownAs = this.wish();
    this.preview();
    this.know();
  }

  failed(yes) { this.area.querySelector(".failed").hidden = !yes; }
  /** Fetch the neighbours in the direction of travel, while nothing else is wished for. */
  async ahead() {
    if (!this.told) return; // the neighbours are fetched in the window of this one
    const towards = this.towards ?? 1;
    for (const by of [towards, -towards, 2 * towards, 3 * towards]) {
      const slice = this.slice + by;
      if (slice < 1 || slice > this.kase.slices.length || this.busy) continue;
      const address = this.address(slice);
      if (this.ready.has(address)) continue;
      try {
        await this.fetch(address);
      } catch {
        return;
      }
    }
  }

  /** Ask once for the windows of these images. */
  async know() {
    const { kase, one } = this;
    if (this.told || this.values.has(one.tag)) return;
    this.values.set(one.tag, true);
    try {
      const told = await (await ask(`${this.study.root}/images/${kase.number}/${this.slice}.json?v=${one.tag}`)).json();
      if (kase !== this.kase) return;
      this.told = told;
      this.shownIn ??= told.window;
      this.shownAs = this.wish();
      this.shownAddress = this.address(); // the same picture: what was left to the service is known by its numbers now
      this.viewer.moved(this);
      this.corners();
      this.ahead();
    } catch {
      this.values.delete(one.tag);
    }
  }

  // What lies over it --------------------------------------------------------------------------------------------------

  heat(address, opacity) {
    this.layer.hidden = !address;
    this.layer.style.opacity = String(opacity);
    if (address && this.layer.getAttribute("src") !== address) this.layer.src = address;
  }

  lines(shapes, opacity) {
    const made = [];
    for (const shape of shapes) {
      const d = shape.outline.filter((line) => line.length > 2).map((line) => `M${line.map((point) => point.join(" ")).join("L")}Z`).join("");
      if (!d) continue;
      for (const kind of ["halo", "line"]) {
        const path = document.createElementNS(SVG, "path");
        path.setAttribute("d", d);
        path.setAttribute("class", kind);
        if (kind === "line" && shape.colour) {
          Object.assign(path.style, { stroke: shape.colour, fill: shape.colour, fillOpacity: String(0.6 * opacity), fillRule: "evenodd" });
          if (shape.dashes) path.style.strokeDasharray = shape.dashes;
        }
        made.push(path);
      }
    }
    this.ai.replaceChildren(...made);
  }

  corners() {
    const now = this.window ?? this.told?.window;
    const digits = now?.[1] < 20 ? 2 : 0;
    const where = [this.named, this.kase.title, this.kase.slices.length > 1 && this.place(say.slice)].filter(Boolean);
    this.area.querySelector(".corner.tl").textContent = where.join("\n");
    this.area.querySelector(".corner.tr").textContent = now && !this.told?.colour ? fill(say.window, { centre: plain(now[0], digits), width: plain(now[1], digits) }) : "";
    const bar = this.area.querySelector(".scale");
    bar.hidden = !this.kase.spacing;
    if (bar.hidden) return;
    const perMm = (this.scale * this.unit[0]) / this.kase.spacing[1];
    const mm = LONG_MM.findLast((one) => one * perMm <= 130) ?? LONG_MM[0];
    bar.querySelector(".scale-bar").style.width = `${mm * perMm}px`;
    bar.querySelector(".scale-words").textContent = this.kase.detector ? fill(say.detector, { mm: `${mm} mm` }) : `${mm} mm`;
  }

  unread() {
    clearTimeout(this.reading);
    this.area.querySelector(".corner.bl").textContent = "";
  }

  /** Say where the pointer is, and soon the value there. */
  read(clientX, clientY) {
    const point = this.toImage(clientX, clientY);
    const line = this.area.querySelector(".corner.bl");
    clearTimeout(this.reading);
    if (!point.inside || !this.told) {
      line.textContent = "";
      return;
    }
    const [x, y] = [Math.floor(point.x), Math.floor(point.y)];
    line.textContent = `${x}, ${y}`;
    if (this.told.colour) return;
    this.reading = setTimeout(async () => {
      try {
        const { value, unit } = await (await ask(`${this.study.root}/images/${this.kase.number}/${this.slice}.json?x=${x}&y=${y}&v=${this.one.tag}`)).json();
        if (line.textContent === `${x}, ${y}`) line.textContent += `   ${value === null ? say.noImage : `${plain(value, 2)} ${unit}`}`;
      } catch { /* the picture changed meanwhile: nothing to say */ }
    }, 150);
  }
}
