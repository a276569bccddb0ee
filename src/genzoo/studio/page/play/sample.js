// @ts-check
/** Samples: images, clips, sounds with their spectrograms, shapes to turn, points. */
import { el } from "../dom.js";
import { fields, seedField } from "./options.js";
import { kept, things } from "./show.js";
import { busy, of, work } from "./work.js";

/** @type {import("./play.js").Panel} */
export function panel(box, about, signal) {
  const points = about.shape.length === 1;
  const few = about.shape.length > 3 || about.rate;
  const number = el("input", { type: "number", id: "sample-n", min: "1", max: "1000", value: points ? "1000" : few ? "4" : "16" });
  const seed = seedField(() => {});
  const own = fields(about.options.sample ?? [], { labels: about.labels, words: about.words });
  const progress = el("div", {});
  const result = el("div", {}, el("p", { class: "quiet" }, "The same seed gives the same samples, here and on the command line."));
  const button = el("button", { type: "button", class: "main" }, "Draw");
  const draw = () =>
    busy(button, async () => {
      const body = { n: Math.min(1000, Math.max(1, Number(number.value) || 1)), seed: seed.value, options: own.values() };
      const found = await work(progress, `${of(about.name)}/sample`, body, signal);
      result.replaceChildren(things(found, `${about.thing}`), kept(found));
    });
  button.addEventListener("click", draw);
  box.append(
    el(
      "div",
      { class: "split" },
      el("div", { class: "panel controls" }, el("div", { class: "field" }, el("label", { for: "sample-n" }, "how many"), number), seed.node, own.node, button),
      el("div", { class: "result" }, progress, result),
    ),
  );
}
