// @ts-check
/** Results: images, films, sounds and shapes to look at, with their files and the command that repeats them. */
import { commandLine, el } from "../dom.js";

/** @typedef {import("./work.js").Found} Found */
/** @typedef {import("./work.js").Shown} Shown */

/**
 * Show an image: small ones with sharp pixels.
 * @param {string} address
 * @param {string} alt
 * @param {boolean} [smooth]
 */
export function picture(address, alt, smooth = false) {
  const image = el("img", { src: address, alt, class: smooth ? "shot" : "shot pixels", draggable: false });
  image.addEventListener("load", () => image.classList.toggle("pixels", !smooth && image.naturalWidth < 200));
  return image;
}

/**
 * Show one thing as what it is.
 * @param {Shown} one
 * @param {string} alt
 * @returns {HTMLElement}
 */
export function thing(one, alt) {
  if (one.frames) return film(one.frames, alt, { turns: one.turns });
  if (one.sound) return sound(one, alt);
  return picture(one.image ?? "", alt, one.smooth);
}

/**
 * Show several things, and how many there are beside them.
 * @param {Found} found
 * @param {string} alt
 */
export function things(found, alt) {
  const large = found.shown.some((s) => s.frames || s.sound || s.smooth);
  const list = el("ul", { class: large ? "shots large" : "shots" });
  found.shown.forEach((s, i) => list.append(el("li", {}, thing(s, `${alt} ${i + 1}`))));
  return el("div", {}, list, found.more ? el("p", { class: "quiet" }, `and ${found.more} more in the files`) : null);
}

/**
 * Show frames in turn: with a button, a slider, and of shapes a hand that turns them.
 * @param {string[]} frames
 * @param {string} alt
 * @param {{turns?: boolean, every?: number}} [how]
 */
export function film(frames, alt, { turns = false, every = 150 } = {}) {
  const image = picture(frames[0], alt);
  const slider = el("input", { type: "range", min: "0", max: String(frames.length - 1), value: "0", "aria-label": turns ? `Turn ${alt}` : `Frame of ${alt}` });
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let timer;
  const show = (/** @type {number} */ i) => {
    slider.value = String(((Math.round(i) % frames.length) + frames.length) % frames.length);
    image.src = frames[Number(slider.value)];
  };
  const button = el("button", { type: "button", class: "small" }, "Play");
  const stop = () => {
    clearInterval(timer);
    timer = undefined;
    button.textContent = "Play";
  };
  const play = () => {
    button.textContent = "Pause";
    timer = setInterval(() => (image.isConnected ? show(Number(slider.value) + 1) : stop()), every);
  };
  button.addEventListener("click", () => (timer ? stop() : play()));
  slider.addEventListener("input", () => {
    stop();
    show(Number(slider.value));
  });
  if (turns) {
    image.classList.add("turned");
    let from = 0;
    let at = 0;
    image.addEventListener("pointerdown", (event) => {
      stop();
      image.setPointerCapture(event.pointerId);
      [from, at] = [event.clientX, Number(slider.value)];
    });
    image.addEventListener("pointermove", (event) => {
      if (image.hasPointerCapture(event.pointerId)) show(at + ((event.clientX - from) / Math.max(image.clientWidth, 1)) * frames.length);
    });
  } else if (!matchMedia("(prefers-reduced-motion: reduce)").matches) setTimeout(() => timer ?? play(), 400);
  return el("div", { class: "film" }, image, el("div", { class: "row" }, button, slider));
}

/**
 * Show a sound: its picture with a line where it plays, and what plays it.
 * @param {Shown} one
 * @param {string} alt
 */
function sound(one, alt) {
  const line = el("div", { class: "now" });
  const box = el("div", { class: "heard" }, picture(one.image ?? "", `waveform and spectrogram of ${alt}`, true), line);
  const player = el("audio", { controls: true, src: URL.createObjectURL(blob(one.sound ?? "")), "aria-label": alt });
  const move = () => {
    line.style.setProperty("--at", `${(100 * player.currentTime) / (one.seconds || 1)}%`);
    if (!player.paused && player.isConnected) requestAnimationFrame(move);
  };
  player.addEventListener("play", move);
  player.addEventListener("seeked", move);
  return el("div", { class: "sound" }, box, player);
}

/** @param {string} address A data address, as the server writes them. */
export function blob(address) {
  const [head, body] = address.split(",");
  const bytes = Uint8Array.from(atob(body), (c) => c.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5).split(";")[0] });
}

/**
 * Show how a result is kept: its files, and the command that makes them again.
 * @param {Found} found
 */
export function kept(found) {
  const links = found.files.map((f) =>
    el("a", { class: "file", href: `/api/play/results/${encodeURIComponent(found.id)}/${encodeURIComponent(f.name)}`, download: f.name }, f.name),
  );
  const needs = found.needs.length ? el("p", { class: "quiet" }, `The command reads ${found.needs.join(" and ")}: download that as well.`) : null;
  return el(
    "div",
    { class: "kept" },
    el("p", { class: "files" }, el("span", { class: "quiet" }, "Download "), ...links.flatMap((a) => [a, " "])),
    found.command ? commandLine(found.command) : null,
    needs,
  );
}

/**
 * Put two images over one another, with a divider that moves; the slider under it is for keyboards as well.
 * @param {string} before
 * @param {string} after
 * @param {string} name
 */
export function compare(before, after, name) {
  const slider = el("input", { type: "range", min: "0", max: "100", value: "50", "aria-label": `Divider between ${name} before and after` });
  const over = picture(after, `${name}, after`, true);
  over.classList.add("after");
  const box = el("div", { class: "compare" }, picture(before, `${name}, before`, true), over, el("div", { class: "divider" }));
  const move = () => box.style.setProperty("--at", `${slider.value}%`);
  slider.addEventListener("input", move);
  const drag = (/** @type {PointerEvent} */ event) => {
    if (event.type === "pointerdown") box.setPointerCapture(event.pointerId);
    else if (!box.hasPointerCapture(event.pointerId)) return;
    const { left, width } = box.getBoundingClientRect();
    slider.value = String(Math.round(Math.min(1, Math.max(0, (event.clientX - left) / width)) * 100));
    move();
  };
  box.addEventListener("pointerdown", drag);
  box.addEventListener("pointermove", drag);
  move();
  return el("div", { class: "compared" }, box, slider, el("div", { class: "ends quiet" }, el("span", {}, "before"), el("span", {}, "after")));
}
