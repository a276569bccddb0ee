// @ts-check
/** The samples of a run on the same noise, as a film with a slider over time. */
import { el } from "./dom.js";
import { at, crisp, pictureAt } from "./runs-shared.js";

/** @typedef {{step: number, stamp: number}} Picture */
const PACE = 350;

/**
 * The film of a run, which can be given new pictures.
 * @param {string} name
 * @param {AbortSignal} signal
 * @returns {{place: HTMLElement, draw: (pictures: Picture[], done: boolean) => void}}
 */
export function film(name, signal) {
  const image = crisp(el("img", { decoding: "async" }));
  const where = el("output", { class: "number" });
  const slider = el("input", { type: "range", min: "0", value: "0", "aria-label": "Sample picture over time", oninput: () => { play(false); show(Number(slider.value)); } });
  const button = el("button", { type: "button", class: "small", onclick: () => play(!timer) }, "Play film");
  const save = el("a", { class: "quiet", download: "" }, "Download picture");
  const whole = el("a", { class: "quiet", download: `${name}.gif`, href: at(name, "/training.gif"), hidden: true }, "Download film");
  const controls = el("div", { class: "film-row" }, button, slider, where);
  const none = el("p", { class: "blank" }, "The first samples come after a tenth of the steps.");
  const place = el("div", { class: "run-film" }, el("div", { class: "screen" }, image, none), controls, el("p", { class: "row" }, save, whole));
  /** @type {Picture[]} */
  let pictures = [];
  let follows = true;
  /** @type {number | undefined} */
  let timer;

  /** @param {number} i */
  function show(i) {
    const picture = pictures[i];
    if (!picture) return;
    follows = i === pictures.length - 1;
    const src = pictureAt(name, picture);
    if (image.getAttribute("src") !== src) image.src = src;
    image.alt = `Samples of ${name} at step ${picture.step}`;
    slider.value = String(i);
    slider.setAttribute("aria-valuetext", `step ${picture.step}`);
    where.textContent = `step ${picture.step.toLocaleString("en")} · ${i + 1} of ${pictures.length}`;
    save.href = src;
    save.download = `${name}-step-${picture.step}.png`;
  }

  /** @param {boolean} on */
  function play(on) {
    clearInterval(timer);
    timer = undefined;
    button.textContent = on ? "Pause" : "Play film";
    if (!on) return;
    if (Number(slider.value) >= pictures.length - 1) show(0);
    timer = setInterval(() => {
      const next = Number(slider.value) + 1;
      if (next >= pictures.length) play(false);
      else show(next);
    }, PACE);
  }
  signal.addEventListener("abort", () => clearInterval(timer));

  return {
    place,
    draw(found, done) {
      const same = found.length === pictures.length && found.every((p, i) => p.step === pictures[i].step && p.stamp === pictures[i].stamp);
      pictures = found;
      none.hidden = pictures.length > 0;
      image.hidden = controls.hidden = save.hidden = !pictures.length;
      whole.hidden = !(done && pictures.length > 1);
      button.disabled = pictures.length < 2;
      slider.max = String(Math.max(0, pictures.length - 1));
      if (!same) {
        for (const p of pictures) new Image().src = pictureAt(name, p);
        if (!timer) show(follows ? pictures.length - 1 : Math.min(Number(slider.value), pictures.length - 1));
      }
    },
  };
}
