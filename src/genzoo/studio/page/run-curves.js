// @ts-check
/** Curves, drawn as SVG: a line, a few marks on the axes, and what lies under the pointer or the arrow keys in words. */
import { el } from "./dom.js";
import { number } from "./runs-shared.js";

/** @typedef {import("./runs-shared.js").Curve} Curve */
const SVG = "http://www.w3.org/2000/svg";
const WIDE = 340, HIGH = 170, LEFT = 52, RIGHT = 6, TOP = 8, BOTTOM = 22;

/** @param {string} tag @param {Record<string, string | number>} [attributes] @param {...(Node | string)} children */
function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** Choose round marks between two values. @param {number} low @param {number} high @param {number} most */
export function marks(low, high, most) {
  const raw = (high - low) / most || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 5, 10].find((m) => m * power >= raw) ?? 10) * power;
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-6; v += step) found.push(Number(v.toPrecision(12)));
  return found;
}

/** Write a mark short. @param {number} value */
function short(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  if (size && size < 0.01) return value.toExponential().replace("e-", "e−");
  return number(value);
}

/**
 * A chart of one curve, which can be given new points.
 * @param {string} name
 * @returns {{place: HTMLElement, draw: (curve: Curve, steps: number | null) => void}}
 */
export function chart(name) {
  const read = el("span", { class: "number quiet" });
  const drawn = /** @type {SVGSVGElement} */ (svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", tabindex: 0 }));
  const place = el("figure", { class: "chart" }, el("figcaption", {}, el("span", {}, name), read), drawn);
  /** @type {[number, number][]} */
  let points = [];
  let x = (/** @type {number} */ v) => v, y = x;
  let at = -1;
  const mark = svg("g", { class: "mark" });

  function tell() {
    const p = points[at] ?? points[points.length - 1];
    mark.replaceChildren();
    if (!p) return;
    read.textContent = `${number(p[1])} at step ${p[0].toLocaleString("en")}`;
    if (at >= 0) mark.append(svg("line", { x1: x(p[0]), x2: x(p[0]), y1: TOP, y2: HIGH - BOTTOM }), svg("circle", { cx: x(p[0]), cy: y(p[1]), r: 4 }));
  }
  drawn.addEventListener("pointermove", (event) => {
    const box = drawn.getBoundingClientRect();
    const wanted = ((event.clientX - box.left) / box.width) * WIDE;
    at = points.reduce((best, p, i) => (Math.abs(x(p[0]) - wanted) < Math.abs(x(points[best][0]) - wanted) ? i : best), 0);
    tell();
  });
  drawn.addEventListener("pointerleave", () => { at = -1; tell(); });
  drawn.addEventListener("blur", () => { at = -1; tell(); });
  drawn.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -1e9, End: 1e9 }[event.key];
    if (!move || !points.length) return;
    event.preventDefault();
    at = Math.max(0, Math.min(points.length - 1, (at < 0 ? points.length - 1 : at) + move));
    tell();
  });

  return {
    place,
    draw(curve, steps) {
      points = curve.points;
      if (at >= points.length) at = -1;
      const values = points.map((p) => p[1]);
      let low = Math.min(...values), high = Math.max(...values);
      const first = points[0][0], last = Math.max(points[points.length - 1][0], steps ?? 0, first + 1);
      if (low === high) [low, high] = [low - (Math.abs(low) || 1) * 0.1, high + (Math.abs(high) || 1) * 0.1];
      x = (v) => LEFT + ((v - first) / (last - first)) * (WIDE - LEFT - RIGHT);
      y = (v) => TOP + (1 - (v - low) / (high - low)) * (HIGH - TOP - BOTTOM);
      const rows = (values.every((v) => v === values[0]) ? [values[0]] : marks(low, high, 4)).map((v) => svg("g", {},
        svg("line", { class: "grid", x1: LEFT, x2: WIDE - RIGHT, y1: y(v), y2: y(v) }),
        svg("text", { x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" }, short(v))));
      const columns = marks(first, last, 4).map((v) => svg("text", { x: x(v), y: HIGH - 6, "text-anchor": x(v) > WIDE - 30 ? "end" : "middle" }, short(v)));
      const path = points.map((p, i) => `${i ? "L" : "M"}${x(p[0]).toFixed(1)} ${y(p[1]).toFixed(1)}`).join("");
      const dots = points.length < 30 ? points.map((p) => svg("circle", { class: "dot", cx: x(p[0]), cy: y(p[1]), r: 2.5 })) : [];
      drawn.replaceChildren(...rows, ...columns, svg("path", { class: "curve", d: path }), ...dots, mark);
      const least = Math.min(...values), most = Math.max(...values);
      const better = curve.better ? `, ${curve.better} is better` : "";
      drawn.setAttribute("aria-label", `${curve.name} over ${points.length} logged steps: ${number(values[0])} at step ${first}, `
        + `${number(values[values.length - 1])} at step ${points[points.length - 1][0]}; least ${number(least)}, greatest ${number(most)}${better}. Arrow keys read single points.`);
      place.classList.toggle("is-measure", curve.kind === "measure");
      tell();
    },
  };
}

/**
 * All curves of a run.
 * @returns {{place: HTMLElement, draw: (curves: Curve[], steps: number | null) => void}}
 */
export function charts() {
  const place = el("div", { class: "charts" });
  /** @type {Map<string, ReturnType<typeof chart>>} */
  const known = new Map();
  return {
    place,
    draw(curves, steps) {
      if (!curves.length) {
        place.replaceChildren(el("p", { class: "quiet" }, "Nothing has been logged yet."));
        known.clear();
        return;
      }
      const wanted = curves.map((curve) => {
        const found = known.get(curve.name) ?? chart(curve.name);
        known.set(curve.name, found);
        found.draw(curve, steps);
        return found.place;
      });
      if (wanted.length !== place.children.length || wanted.some((w, i) => w !== place.children[i])) place.replaceChildren(...wanted);
    },
  };
}
