// @ts-check
/** Fill in what is painted over; of a sound, go on after its start. */
import { send } from "../api.js";
import { el, say } from "../dom.js";
import { dropPlace } from "./drop.js";
import { fields, seedField } from "./options.js";
import { Mask } from "./paint.js";
import { kept, picture, things } from "./show.js";
import { busy, of, work } from "./work.js";

const LARGEST = 2048;

/** @type {import("./play.js").Panel} */
export function panel(box, about, signal) {
  if (about.sequential) return goOn(box, about, signal);
  /** @type {{own: import("./drop.js").Own, mask: Mask, image: string} | undefined} */
  let chosen;
  const [height, width] = about.size ?? [0, 0];
  const canvas = el("div", { class: "canvas" }, el("p", { class: "quiet" }, "Choose a picture, then paint over what is to be drawn anew."));
  const progress = el("div", {});
  const result = el("div", {});
  const said = el("p", { class: "quiet", role: "status" });
  const n = el("input", { type: "number", id: "complete-n", min: "1", max: "16", value: "4" });
  const seed = seedField(() => {});
  const own = fields(about.options.complete ?? [], { labels: about.labels, words: about.words });
  const full = el("input", { type: "checkbox", id: "complete-full" });
  const fullField = el("p", { hidden: true }, el("label", { for: "complete-full" }, full, "keep the photograph’s own size"));
  const size = el("input", { type: "range", id: "brush", min: "1", value: "3" });
  const tools = toolbar(() => chosen?.mask, size);

  const changed = () => {
    const mask = chosen?.mask;
    const marked = mask ? mask.count : 0;
    if (mask) size.value = String(mask.size);
    said.textContent = mask ? `${marked.toLocaleString("en")} of ${(mask.width * mask.height).toLocaleString("en")} pixels are drawn anew` : "";
    fill.disabled = !marked;
  };
  const fill = el("button", { type: "button", class: "main", disabled: true }, "Fill in");
  fill.addEventListener("click", () =>
    busy(fill, async () => {
      if (!chosen) return;
      const form = new FormData();
      form.append("files", await chosen.mask.png(), "mask.png");
      const [mask] = await send("/api/play/pictures", form, { signal });
      const body = { picture: chosen.own.id, mask: mask.id, n: Number(n.value) || 1, seed: seed.value, full: full.checked, options: own.values() };
      const found = await work(progress, `${of(about.name)}/complete`, body, signal);
      const before = el("li", {}, picture(found.given || chosen.image, "your picture", full.checked), el("small", { class: "quiet" }, "your picture"));
      const list = things(found, "completion");
      list.firstElementChild?.prepend(before);
      result.replaceChildren(el("h2", {}, "Filled in"), list, kept(found));
    }),
  );
  /** @param {import("./drop.js").Own} first */
  const choose = async (first) => {
    const shown = await send(`/api/play/pictures/${encodeURIComponent(first.id)}/shown`, {}, { signal });
    const larger = width && (shown.width !== width || shown.height !== height);
    fullField.hidden = !larger;
    if (!larger) full.checked = false;
    /** @type {[string, number, number, boolean]} */
    let how = [shown.image, shown.width, shown.height, shown.smooth];
    if (width && !full.checked) how = [larger ? await cut(shown.image, width, height) : shown.image, width, height, false];
    if (Math.max(how[1], how[2]) > LARGEST) throw new Error(`The picture has ${shown.width} × ${shown.height} pixels; at most ${LARGEST} a side are painted here.`);
    chosen = { own: first, image: how[0], mask: new Mask(how[0], how[1], how[2], () => changed(), how[3]) };
    size.max = String(Math.ceil(Math.max(how[1], how[2]) / 2));
    canvas.replaceChildren(chosen.mask.node, tools);
    result.replaceChildren();
    changed();
  };
  full.addEventListener("change", () => chosen && choose(chosen.own).catch(say));
  const drop = dropPlace(about.name, ([first]) => choose(first), { signal });
  box.append(
    el(
      "div",
      { class: "split" },
      el("div", { class: "controls" }, drop, fullField, el("div", { class: "field" }, el("label", { for: "complete-n" }, "how many"), n), seed.node, own.node),
      el("div", { class: "result" }, canvas, said, el("p", {}, fill), progress, result),
    ),
  );
}

/**
 * Scale and cut a picture as the server will: the largest middle part in the proportions of the model. Only what is shown while painting.
 * @param {string} address @param {number} width @param {number} height
 */
async function cut(address, width, height) {
  const image = new Image();
  image.src = address;
  await image.decode();
  const scale = Math.min(image.naturalWidth / width, image.naturalHeight / height);
  const [w, h] = [width * scale, height * scale];
  const canvas = el("canvas", { width, height });
  const pen = canvas.getContext("2d");
  if (!pen) return address;
  pen.imageSmoothingQuality = "high";
  pen.drawImage(image, (image.naturalWidth - w) / 2, (image.naturalHeight - h) / 2, w, h, 0, 0, width, height);
  return canvas.toDataURL();
}

/**
 * @param {() => Mask | undefined} mask
 * @param {HTMLInputElement} size
 */
function toolbar(mask, size) {
  const button = (/** @type {string} */ words, /** @type {(mask: Mask) => void} */ act) =>
    el("button", { type: "button", class: "small", onclick: () => { const m = mask(); if (m) act(m); } }, words);
  const eraser = el("button", { type: "button", class: "small", "aria-pressed": "false" }, "Erase");
  eraser.addEventListener("click", () => {
    const m = mask();
    if (!m) return;
    m.erasing = !m.erasing;
    eraser.setAttribute("aria-pressed", String(m.erasing));
  });
  size.addEventListener("input", () => {
    const m = mask();
    if (m) m.resize(Number(size.value));
    m?.point();
  });
  return el(
    "div",
    { class: "tools" },
    el("label", { for: "brush", class: "size" }, "brush", size),
    eraser,
    button("Undo", (m) => m.undo()),
    button("Clear", (m) => m.clear()),
    button("Lower half", (m) => m.box(0, 0.5, 1, 1)),
    button("Middle", (m) => m.box(0.25, 0.25, 0.75, 0.75)),
  );
}

/** @param {HTMLElement} box @param {import("./play.js").About} about @param {AbortSignal} signal */
function goOn(box, about, signal) {
  /** @type {import("./drop.js").Own | undefined} */
  let own;
  const seconds = about.shape[1] / (about.rate || 1);
  const after = el("input", { type: "range", id: "after", min: String(seconds / 20), max: String(seconds * 0.95), step: String(seconds / 200), value: String(seconds / 2) });
  const told = el("output", { for: "after", class: "number" });
  const tell = () => (told.textContent = `${Number(after.value).toFixed(2)} s`);
  after.addEventListener("input", tell);
  tell();
  const seed = seedField(() => {});
  const options = fields(about.options.complete ?? [], { labels: about.labels });
  const progress = el("div", {});
  const result = el("div", {});
  const chosen = el("p", { class: "quiet", role: "status" });
  const button = el("button", { type: "button", class: "main", disabled: true }, "Go on");
  button.addEventListener("click", () =>
    busy(button, async () => {
      const body = { picture: own?.id, after: Number(Number(after.value).toPrecision(4)), n: 2, seed: seed.value, options: options.values() };
      const found = await work(progress, `${of(about.name)}/continue`, body, signal);
      result.replaceChildren(things(found, "sound"), kept(found));
    }),
  );
  const take = (/** @type {import("./drop.js").Own[]} */ [first]) => {
    own = first;
    chosen.textContent = first.name;
    button.disabled = false;
  };
  const drop = dropPlace(about.name, take, { sounds: true, signal });
  box.append(
    el(
      "div",
      { class: "split" },
      el("div", { class: "controls" }, drop, chosen, el("div", { class: "field" }, el("label", { for: "after" }, "kept from the start", told), after), seed.node, options.node, button),
      el("div", { class: "result" }, progress, result),
    ),
  );
}
