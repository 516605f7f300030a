// The picture, its map and its outlines in one SVG: what is seen of it is its viewBox.

const SVG = "http://www.w3.org/2000/svg";
const MOST_ZOOM = 60;
const TEXT_PX = 13;

export function element(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A short line as an outline of this class is drawn. */
export function sample(role) {
  const ends = { x1: 2, y1: 8, x2: 32, y2: 8 };
  const strike = role === "ignored" ? [element("line", { x1: 12, y1: 14, x2: 22, y2: 2, class: "line" })] : [];
  const group = element("g", { class: `shape ${role}` }, element("line", { ...ends, class: "casing" }),
    element("line", { ...ends, class: "line" }), ...strike);
  return element("svg", { class: "sample", viewBox: "0 0 34 16", "aria-hidden": "true" }, group);
}

export function pairs(polygon) {
  const points = [];
  for (let at = 0; at + 1 < polygon.length; at += 2) points.push([polygon[at], polygon[at + 1]]);
  return points;
}

export class Stage {
  constructor(svg) {
    this.svg = svg;
    this.size = [1, 1];
    this.centre = [0.5, 0.5];
    this.scale = 1;
    this.layers = Object.fromEntries(["picture", "map", "shapes"].map((name) => [name, element("g")]));
    svg.append(...Object.values(this.layers));
    new ResizeObserver(() => (this.whole ? this.fit() : this.place())).observe(svg);
    this.listen();
  }

  /** Show a picture, the whole of it where `anew`. */
  show({ url, width, height }, anew) {
    this.size = [width, height];
    this.layers.picture.replaceChildren(this.image(url));
    if (anew) this.fit();
  }

  clear() {
    for (const layer of Object.values(this.layers)) layer.replaceChildren();
    this.size = [1, 1];
  }

  image(url) {
    return element("image", { href: url, width: this.size[0], height: this.size[1], preserveAspectRatio: "none" });
  }

  map(url) {
    if (this.mapUrl) URL.revokeObjectURL(this.mapUrl);
    this.mapUrl = url;
    this.layers.map.replaceChildren(...(url ? [this.image(url)] : []));
    this.layers.map.setAttribute("opacity", 0.75);
    this.layers.picture.style.filter = url ? "grayscale(1)" : "";
  }

  /** Draw outlines; `text` tells what is written on each, `choose` is called with one that is clicked. */
  draw(shapes, text, choose) {
    this.layers.shapes.replaceChildren(...shapes.map((shape) => {
      const points = pairs(shape.polygon);
      const given = points.map((point) => point.join(",")).join(" ");
      const group = element("g", { class: `shape ${shape.role}` }, element("polygon", { points: given, class: "casing" }),
        element("polygon", { points: given, class: "line" }));
      if (shape.role === "ignored" && points.length > 2) {
        const [from, to] = [points[0], points[points.length >> 1]];
        group.append(element("line", { x1: from[0], y1: from[1], x2: to[0], y2: to[1], class: "line" }));
      }
      const said = text(shape);
      if (said && points.length) {
        const at = { x: Math.min(...points.map((p) => p[0])), y: Math.min(...points.map((p) => p[1])) };
        const words = element("text", at);
        words.textContent = said;
        group.append(words);
      }
      group.addEventListener("click", () => choose(shape));
      shape.group = group;
      return group;
    }));
    this.place();
  }

  fit() {
    const { clientWidth: wide, clientHeight: high } = this.svg;
    this.scale = Math.min(wide / this.size[0], high / this.size[1]) || 1;
    this.centre = [this.size[0] / 2, this.size[1] / 2];
    this.whole = true;
    this.place();
  }

  /** Show an outline, and as much again around it. */
  to(polygon) {
    const points = pairs(polygon);
    if (!points.length) return;
    const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
    const span = (values) => Math.max(...values) - Math.min(...values) + 1;
    const middle = (values) => (Math.max(...values) + Math.min(...values)) / 2;
    this.centre = [middle(xs), middle(ys)];
    const fits = Math.min(this.svg.clientWidth / span(xs), this.svg.clientHeight / span(ys)) / 3;
    this.scale = Math.min(fits, 8);
    this.whole = false;
    this.place();
  }

  zoom(factor, x = this.svg.clientWidth / 2, y = this.svg.clientHeight / 2) {
    const before = this.at(x, y);
    const least = Math.min(this.svg.clientWidth / this.size[0], this.svg.clientHeight / this.size[1]) / 2;
    this.scale = Math.min(MOST_ZOOM, Math.max(least, this.scale * factor));
    const after = this.at(x, y);
    this.centre = this.centre.map((value, axis) => value + before[axis] - after[axis]);
    this.whole = false;
    this.place();
  }

  pan(x, y) {
    const moved = [this.centre[0] - x / this.scale, this.centre[1] - y / this.scale];
    this.centre = moved.map((value, axis) => Math.min(this.size[axis], Math.max(0, value)));
    this.whole = false;
    this.place();
  }

  /** The point of the picture at a point of the screen. */
  at(x, y) {
    const { clientWidth: wide, clientHeight: high } = this.svg;
    return [this.centre[0] + (x - wide / 2) / this.scale, this.centre[1] + (y - high / 2) / this.scale];
  }

  place() {
    const { clientWidth: wide, clientHeight: high } = this.svg;
    const [left, top] = this.at(0, 0);
    this.svg.setAttribute("viewBox", `${left} ${top} ${wide / this.scale || 1} ${high / this.scale || 1}`);
    this.layers.picture.style.imageRendering = this.scale > 3 ? "pixelated" : "auto";
    this.layers.shapes.setAttribute("font-size", TEXT_PX / this.scale);
    this.layers.shapes.setAttribute("stroke-width", 3 / this.scale);
  }

  listen() {
    const touches = new Map();
    const distance = () => {
      const [a, b] = [...touches.values()];
      return Math.hypot(a[0] - b[0], a[1] - b[1]);
    };
    this.svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-Math.sign(event.deltaY) * 0.2), event.offsetX, event.offsetY);
    }, { passive: false });
    this.svg.addEventListener("pointerdown", (event) => touches.set(event.pointerId, [event.offsetX, event.offsetY]));
    this.svg.addEventListener("pointermove", (event) => {
      const was = touches.get(event.pointerId);
      if (!was) return;
      const now = [event.offsetX, event.offsetY];
      if (touches.size === 1 && Math.hypot(now[0] - was[0], now[1] - was[1]) < 3) return;
      const before = touches.size === 2 ? distance() : 0;
      touches.set(event.pointerId, now);
      // Held only once it moves: a click stays one of the outline below it.
      this.svg.setPointerCapture(event.pointerId);
      this.svg.classList.add("pulled");
      if (before) this.zoom(distance() / before, ...now);
      else this.pan(now[0] - was[0], now[1] - was[1]);
    });
    for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
      this.svg.addEventListener(name, (event) => {
        touches.delete(event.pointerId);
        this.svg.classList.remove("pulled");
      });
    }
    this.svg.addEventListener("dblclick", () => this.fit());
  }
}
