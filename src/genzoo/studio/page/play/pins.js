// @ts-check
/** Pinned places: a strip of images that lives as long as the tab. They can be dragged, and moved and used by buttons as well. */
import { el, say } from "../dom.js";
import { thing } from "./show.js";

/** @typedef {{at: string, shown: import("./work.js").Shown, key: number}} Pin */
/** @typedef {import("./play.js").About} About */

/** @type {Map<string, Pin[]>} */
const kept = new Map();
let count = 0;
const MOST = 24;

export class Pins {
  /**
   * @param {About} about
   * @param {(at: string) => void} use
   */
  constructor(about, use) {
    this.about = about;
    this.use = use;
    this.node = el("ul", { class: "pins", "aria-label": "Pinned places" });
    /** @type {(() => void)[]} */
    this.listeners = [];
    /** @type {((dragged: Pin, onto: Pin) => void) | undefined} */
    this.dropped = undefined;
    this.draw();
  }

  get all() {
    return kept.get(this.about.name) ?? [];
  }

  /** Do something now, and whenever the pins change. @param {() => void} act */
  follow(act) {
    this.listeners.push(act);
    act();
  }

  /** @param {string} at @param {import("./work.js").Shown} shown */
  add(at, shown) {
    if (this.all.length >= MOST) return say(`There is room for ${MOST} pins; remove one first.`);
    kept.set(this.about.name, [...this.all, { at, shown, key: ++count }]);
    this.draw();
  }

  /** @param {Pin[]} pins */
  put(pins) {
    kept.set(this.about.name, pins);
    this.draw();
  }

  /** @param {Pin} pin */
  name(pin) {
    return `${this.all.indexOf(pin) + 1}`;
  }

  draw() {
    const pins = this.all;
    this.node.replaceChildren(...pins.map((pin) => this.card(pin)));
    if (!pins.length) this.node.append(el("li", { class: "none quiet" }, "Nothing yet. Pin two places to walk between them."));
    for (const listener of this.listeners) listener();
  }

  /** @param {Pin} pin */
  card(pin) {
    const at = this.all.indexOf(pin);
    const name = this.name(pin);
    const image = pin.shown.frames ? thing({ image: pin.shown.frames[0] }, `Pin ${name}`) : thing({ image: pin.shown.image, smooth: pin.shown.smooth }, `Pin ${name}`);
    const button = (/** @type {string} */ words, /** @type {string} */ label, /** @type {() => void} */ act, off = false) =>
      el("button", { type: "button", class: "small", "aria-label": label, title: label, disabled: off, onclick: act }, words.length === 1 ? el("span", { "aria-hidden": "true" }, words) : words);
    const card = el(
      "li",
      { draggable: true },
      image,
      el("span", { class: "badge number", "aria-hidden": "true" }, name),
      el(
        "div",
        { class: "row tight" },
        button("Use", `Use pin ${name}`, () => this.use(pin.at)),
        button("←", `Move pin ${name} forward`, () => this.put(moved(this.all, at, at - 1)), at === 0),
        button("×", `Remove pin ${name}`, () => this.put(this.all.filter((p) => p !== pin))),
      ),
    );
    card.addEventListener("dragstart", (event) => event.dataTransfer?.setData("text/x-pin", String(pin.key)));
    card.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("text/x-pin")) return;
      event.preventDefault();
      card.classList.add("over");
    });
    card.addEventListener("dragleave", () => card.classList.remove("over"));
    card.addEventListener("drop", (event) => {
      card.classList.remove("over");
      const dragged = this.all.find((p) => String(p.key) === event.dataTransfer?.getData("text/x-pin"));
      if (!dragged || dragged === pin) return;
      event.preventDefault();
      if (this.dropped) this.dropped(dragged, pin);
      else this.put(moved(this.all, this.all.indexOf(dragged), at));
    });
    return card;
  }
}

/** The parts of a place that mixes styles, "a/4/b"; of any other place it alone. What stands in brackets has slashes of its own. @param {string} at */
export const mixed = (at) => at.split(/\/(?![^[]*\])/);

/** @param {Pin[]} pins @param {number} from @param {number} onto */
function moved(pins, from, onto) {
  const rest = pins.filter((_, i) => i !== from);
  rest.splice(Math.max(0, onto), 0, pins[from]);
  return rest;
}
