// @ts-check
/** Where in a picture its bits are: how surprising each pixel is to a model that predicts it from those before it. */
import { el } from "../dom.js";
import { dropPlace } from "./drop.js";
import { kept, picture } from "./show.js";
import { busy, of, work } from "./work.js";

/** @type {import("./play.js").Panel} */
export function panel(box, about, signal) {
  /** @type {import("./drop.js").Own | undefined} */
  let own;
  const progress = el("div", {});
  const result = el("div", {}, el("p", { class: "quiet" }, "Light pixels took many bits: the model did not expect them."));
  const file = el("div", {});
  const squeeze = el("button", { type: "button", disabled: true }, "Compress to a file");
  squeeze.addEventListener("click", () =>
    busy(squeeze, async () => {
      const found = await work(progress, `${of(about.name)}/compress`, { picture: own?.id }, signal);
      file.replaceChildren(el("p", { class: "number" }, found.said ?? ""), kept(found));
    }),
  );
  const drop = dropPlace(
    about.name,
    async ([first]) => {
      own = first;
      file.replaceChildren();
      squeeze.disabled = true;
      const found = await work(progress, `${of(about.name)}/bits`, { picture: first.id }, signal);
      squeeze.disabled = false;
      result.replaceChildren(heatMap(found), el("p", { class: "number" }, found.said ?? ""), kept(found));
    },
    { signal },
  );
  box.append(el("div", { class: "split" }, el("div", { class: "controls" }, drop, about.compresses ? el("p", {}, squeeze) : null, file), el("div", { class: "result" }, progress, result)));
}

/** @param {import("./work.js").Found} found */
function heatMap(found) {
  const map = picture(found.shown[0].image ?? "", "bits of each pixel");
  const said = el("p", { class: "quiet number", role: "status" }, "Point at a pixel to read its bits.");
  const values = found.values;
  if (values)
    map.addEventListener("pointermove", (event) => {
      const { left, top, width, height } = map.getBoundingClientRect();
      const x = Math.min(values[0].length - 1, Math.max(0, Math.floor(((event.clientX - left) / width) * values[0].length)));
      const y = Math.min(values.length - 1, Math.max(0, Math.floor(((event.clientY - top) / height) * values.length)));
      said.textContent = `${values[y][x].toFixed(2)} bits at column ${x + 1}, row ${y + 1}`;
    });
  const scale = el("div", { class: "scale" }, el("span", {}, "0"), el("div", { class: "bar", role: "img", "aria-label": "from dark to light" }), el("span", {}, `${(found.most ?? 0).toFixed(2)} bits`));
  return el(
    "div",
    {},
    el(
      "div",
      { class: "pair" },
      el("figure", {}, picture(found.given ?? "", "the picture"), el("figcaption", { class: "quiet" }, "the picture")),
      el("figure", {}, map, el("figcaption", { class: "quiet" }, "bits of each pixel"), scale),
    ),
    values ? said : null,
  );
}
