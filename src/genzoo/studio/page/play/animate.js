// @ts-check
/** Clips that begin with a picture of one's own. */
import { el } from "../dom.js";
import { dropPlace } from "./drop.js";
import { kept, picture, thing } from "./show.js";
import { of, work } from "./work.js";

/** @type {import("./play.js").Panel} */
export function panel(box, about, signal) {
  const progress = el("div", {});
  const result = el("div", {});
  const drop = dropPlace(
    about.name,
    async ([first]) => {
      const found = await work(progress, `${of(about.name)}/animate`, { picture: first.id }, signal);
      const before = el("figure", {}, picture(found.given ?? "", "first frame"), el("figcaption", { class: "quiet" }, "first frame"));
      result.replaceChildren(el("div", { class: "pair" }, before, thing(found.shown[0], "the clip")), kept(found));
    },
    { signal },
  );
  box.append(el("div", { class: "split" }, el("div", { class: "controls" }, drop), el("div", { class: "result" }, progress, result)));
}
