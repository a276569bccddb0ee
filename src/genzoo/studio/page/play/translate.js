// @ts-check
/** Photographs translated, enlarged and colored, each beside what it was. */
import { el, say } from "../dom.js";
import { dropPlace } from "./drop.js";
import { fields } from "./options.js";
import { compare, kept } from "./show.js";
import { of, work } from "./work.js";

/** @type {import("./play.js").Panel} */
export function panel(box, about, signal) {
  const direction = el("select", { id: "direction" }, ...about.maps.map((m) => el("option", { value: m.name }, said(m.name))));
  const own = fields(about.options.translate ?? []);
  const results = el("div", { class: "translated" }, el("p", { class: "quiet" }, "Any size: large pictures go through in tiles where the model allows it. Your files are not changed."));
  let first = true;
  const one = async (/** @type {import("./drop.js").Own} */ picture) => {
    const progress = el("div", {});
    const name = el("h2", {}, picture.name);
    const card = el("article", { class: "panel" }, name, progress);
    if (first) results.replaceChildren();
    first = false;
    results.prepend(card);
    try {
      const found = await work(progress, `${of(about.name)}/translate`, { picture: picture.id, direction: direction.value, options: own.values() }, signal);
      card.append(compare(found.given ?? "", found.shown[0].image ?? "", picture.name), el("p", { class: "quiet" }, `${said(direction.value)}, ${found.said ?? ""}`), kept(found));
    } catch (error) {
      if (error instanceof DOMException) card.append(el("p", { class: "quiet" }, "cancelled"));
      else card.append(el("p", { class: "mistake" }, error instanceof Error ? error.message : String(error)));
    }
  };
  const drop = dropPlace(
    about.name,
    async (pictures) => {
      await Promise.all(pictures.map(one)).catch(say);
    },
    { many: true, side: () => direction.value.slice(0, 1), signal },
  );
  box.append(
    el("div", { class: "split" }, el("div", { class: "controls" }, el("div", { class: "field" }, el("label", { for: "direction" }, "direction"), direction), own.node, drop), results),
  );
}

/** @param {string} name */
const said = (name) => name.replace(/^(\w)2(\w)$/, (_, a, b) => `${a.toUpperCase()} to ${b.toUpperCase()}`);
