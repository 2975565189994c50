// What hands do on a picture: wheel, mouse, pen and fingers; a tool of the page comes before the picture's own.

const WHEEL_STEP = 30; // what a wheel must turn for one slice

export class Hands {
  constructor(pane) {
    this.pane = pane;
    this.fingers = new Map();
    this.held = ""; // what a press does: "window", "pan", "tool" or nothing
    this.wheeled = 0;
    const { area } = pane;
    area.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    area.addEventListener("pointerdown", (event) => this.down(event));
    area.addEventListener("pointermove", (event) => this.moving(event));
    for (const name of ["pointerup", "pointercancel"]) area.addEventListener(name, (event) => this.up(event));
    area.addEventListener("pointerleave", () => pane.unread());
    area.addEventListener("dblclick", (event) => this.centre(event));
    area.addEventListener("focus", () => pane.viewer.activate(pane));
    area.addEventListener("auxclick", (event) => event.preventDefault());
    pane.range.addEventListener("input", () => pane.turn(Number(pane.range.value) - pane.slice));
  }

  /** The tool of the page that is in use on this picture, if one is. */
  get tool() {
    const { pane } = this;
    return pane === pane.viewer.main ? pane.viewer.tools.get(pane.viewer.tool) : undefined;
  }

  at(event) { return this.pane.toImage(event.clientX, event.clientY); }

  centre(event) {
    const { box } = this.pane;
    if (!this.tool) this.pane.move(box.width / 2 - (event.clientX - box.left), box.height / 2 - (event.clientY - box.top));
  }

  wheel(event) {
    const { pane } = this;
    pane.viewer.activate(pane);
    if (event.ctrlKey) {
      event.preventDefault();
      const { box } = pane;
      pane.zoom(Math.exp(-event.deltaY / (event.deltaMode ? 6 : 240)), event.clientX - box.left, event.clientY - box.top);
    } else if (pane.kase.slices.length > 1) {
      event.preventDefault();
      this.wheeled += event.deltaY * (event.deltaMode ? WHEEL_STEP : 1);
      const by = Math.trunc(this.wheeled / WHEEL_STEP);
      this.wheeled -= by * WHEEL_STEP;
      if (by) pane.turn(Math.sign(by) * Math.min(4, Math.abs(by)));
    }
  }

  down(event) {
    const { pane, tool } = this;
    pane.viewer.activate(pane);
    pane.area.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, event);
    this.held = this.fingers.size > 1 || event.button === 1 ? "pan" : event.button ? "" : tool ? "tool" : pane.viewer.tool;
    if (this.held === "tool") tool.down?.(this.at(event), event);
    if (event.button === 1) event.preventDefault();
  }

  moving(event) {
    const { pane } = this;
    const before = this.fingers.get(event.pointerId);
    if (!before) {
      pane.read(event.clientX, event.clientY);
      this.tool?.move?.(this.at(event), event);
      return;
    }
    const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
    if (this.fingers.size === 2) this.pinch(before, event);
    else if (this.held === "pan") pane.move(dx, dy);
    else if (this.held === "window") pane.drag(dx, dy);
    else if (this.held === "tool") this.tool?.move?.(this.at(event), event);
    this.fingers.set(event.pointerId, event);
  }

  pinch(before, event) {
    const other = [...this.fingers.values()].find((one) => one.pointerId !== event.pointerId);
    const far = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
    const { box } = this.pane;
    this.pane.zoom(far(event) / far(before), (event.clientX + other.clientX) / 2 - box.left, (event.clientY + other.clientY) / 2 - box.top);
    this.pane.move((event.clientX - before.clientX) / 2, (event.clientY - before.clientY) / 2);
  }

  up(event) {
    if (!this.fingers.delete(event.pointerId)) return;
    if (this.held === "tool") this.tool?.up?.(this.at(event), event);
    this.held = "";
  }
}
