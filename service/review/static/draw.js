// Regions that a reader draws for a verdict: by box, by brush, or by keyboard, on the viewer of the page (viewer.js).

import { makeMask, outlines, paint } from "./outline.js";

const SVG = "http://www.w3.org/2000/svg";
const BRUSH_SHARE = .02; // radius, of the longer side
const STEP_SHARE = .01; // of a press of an arrow
const LEAST = 3; // pixels a side of the screen: less was a click

/** Regions of one page. ``changed(finding)`` is called when those of a finding change; keys are panel + finding. */
export class Drawing {
  constructor(viewer, changed) {
    this.viewer = viewer;
    this.changed = changed;
    this.regions = new Map();
    this.current = "";
    this.labels = new Map();
    this.given = new Map(); // panel → what readers drew before
    this.sketch = null;
    viewer.addTool("verdict-box", this.box());
    viewer.addTool("verdict-brush", this.brush());
    const stage = document.getElementById("viewer");
    stage.addEventListener("viewer-slice", () => this.show());
  }

  /** Draw for a finding with a tool, "box" or "brush"; null ends it. */
  async use(finding, tool, onCase) {
    this.current = finding;
    if (tool && onCase && this.viewer.at.case !== onCase) await this.viewer.show({ case: onCase, slice: 1 });
    this.viewer.use(tool ? `verdict-${tool}` : "window");
  }

  /** Put a box in the middle of what is shown, to be moved with the arrows. */
  async place(finding, onCase) {
    if (onCase && this.viewer.at.case !== onCase) await this.viewer.show({ case: onCase, slice: 1 });
    const { rows, columns } = this.viewer.at;
    const region = this.add(finding, corners(columns * .375, rows * .375, columns * .625, rows * .625), true);
    this.shapeOf(region)?.focus();
  }

  clear(finding) {
    this.regions.delete(finding);
    this.show();
    this.changed(finding);
  }

  /** What is sent: regions of one finding. */
  sent(finding) {
    return (this.regions.get(finding) ?? []).map(({ sop, frame, points }) => ({ sop, frame, points: points.map(([x, y]) => [round(x), round(y)]) }));
  }

  add(finding, points, isBox) {
    const { sop, frame, case: onCase, slice } = this.viewer.at;
    const region = { finding, sop, frame: frame ?? null, case: onCase, slice, points, isBox };
    this.regions.set(finding, [...(this.regions.get(finding) ?? []), region]);
    this.show();
    this.changed(finding);
    return region;
  }

  remove(region) {
    this.regions.set(region.finding, (this.regions.get(region.finding) ?? []).filter((one) => one !== region));
    this.show();
    this.changed(region.finding);
  }

  shapeOf(region) {
    return [...this.viewer.overlay.querySelectorAll(".verdict-region")].find((one) => one.region === region);
  }

  /** Draw everything of the slice that is shown. */
  show() {
    const { overlay, at } = this.viewer;
    for (const old of overlay.querySelectorAll("[data-verdict-shape]")) old.remove();
    for (const region of [...this.given.values()].flat()) {
      if (region.sop === at.sop && (region.frame ?? null) === (at.frame ?? null)) {
        overlay.append(shape(region.points, "verdict-under"), shape(region.points, "verdict-given"));
      }
    }
    for (const region of [...this.regions.values()].flat()) {
      if (region.case !== at.case || region.slice !== at.slice) continue;
      overlay.append(shape(region.points, "verdict-under"));
      const drawn = shape(region.points, "verdict-region");
      drawn.region = region;
      drawn.setAttribute("tabindex", "0");
      drawn.setAttribute("role", "img");
      drawn.setAttribute("aria-label", this.labels.get(region.finding) ?? "");
      drawn.addEventListener("keydown", (event) => this.press(event, region));
      overlay.append(drawn);
    }
    const drawing = overlay.ownerSVGElement; // hidden from screen readers while nothing in it can be reached
    if (overlay.querySelector(".verdict-region[tabindex]")) drawing?.removeAttribute("aria-hidden");
    else drawing?.setAttribute("aria-hidden", "true");
    if (this.sketch) overlay.append(shape(this.sketch, "verdict-region sketch"));
  }

  /** Arrows move a region; with Shift they make a box larger or smaller; Delete takes it away. */
  press(event, region) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Delete" || event.key === "Backspace") this.remove(region);
    else if (!way) return;
    else {
      const { rows, columns } = this.viewer.at;
      const step = Math.max(1, STEP_SHARE * Math.max(rows, columns));
      const [across, down] = [way[0] * step, way[1] * step];
      const last = region.points[2];
      if (!event.shiftKey) region.points = region.points.map(([x, y]) => [bound(x + across, columns), bound(y + down, rows)]);
      else if (region.isBox) {
        const [x, y] = region.points[0];
        region.points = corners(x, y, bound(Math.max(x + step, last[0] + across), columns), bound(Math.max(y + step, last[1] + down), rows));
      }
      this.show();
      this.shapeOf(region)?.focus();
      this.changed(region.finding);
    }
    event.preventDefault();
    event.stopPropagation();
  }

  box() {
    let start = null;
    return {
      cursor: "crosshair",
      down: (point) => { start = this.inside(point); },
      move: (point) => {
        if (!start) return;
        const end = this.inside(point);
        this.sketch = corners(start.x, start.y, end.x, end.y);
        this.show();
      },
      up: (point) => {
        const end = this.inside(point), begun = start;
        start = this.sketch = null;
        const least = LEAST / (this.viewer.pixel || 1);
        if (begun && Math.abs(end.x - begun.x) >= least && Math.abs(end.y - begun.y) >= least) {
          this.add(this.current, corners(begun.x, begun.y, end.x, end.y), true);
        } else this.show();
      },
    };
  }

  brush() {
    let mask = null, last = null;
    const stroke = (point) => {
      const { rows, columns } = this.viewer.at;
      const here = this.inside(point);
      paint(mask, last ?? here, here, BRUSH_SHARE * Math.max(rows, columns));
      last = here;
      this.sketch = outlines(mask)[0] ?? null;
      this.show();
    };
    return {
      cursor: "crosshair",
      down: (point) => { mask = makeMask(this.viewer.at.rows, this.viewer.at.columns); last = null; stroke(point); },
      move: (point) => { if (mask) stroke(point); },
      up: () => {
        const drawn = mask ? outlines(mask) : [];
        mask = this.sketch = null;
        for (const points of drawn) this.add(this.current, points, false);
        if (!drawn.length) this.show();
      },
    };
  }

  inside(point) {
    const { rows, columns } = this.viewer.at;
    return { x: bound(point.x, columns), y: bound(point.y, rows) };
  }
}

const bound = (value, most) => Math.min(most, Math.max(0, value));
const round = (value) => Math.round(value * 100) / 100;

/** A box as its corners, from the upper left, clockwise. */
function corners(x1, y1, x2, y2) {
  const [left, right, top, bottom] = [Math.min(x1, x2), Math.max(x1, x2), Math.min(y1, y2), Math.max(y1, y2)];
  return [[left, top], [right, top], [right, bottom], [left, bottom]];
}

function shape(points, name) {
  const made = document.createElementNS(SVG, "polygon");
  made.setAttribute("points", points.map((point) => point.join(",")).join(" "));
  made.setAttribute("class", name);
  made.setAttribute("data-verdict-shape", "");
  return made;
}
