// @ts-check
/** The density of points in the plane, drawn again whenever the run has a newer checkpoint. */
import { get, pause } from "../api.js";
import { el, say } from "../dom.js";
import { kept } from "./show.js";
import { busy, of, work } from "./work.js";

const EVERY = 2000;

/** @type {import("./play.js").Panel} */
export function panel(box, about, signal) {
  const canvas = el("canvas", { width: 640, height: 640, class: "map", role: "img", "aria-label": "map of the density, dark where there is none" });
  const live = el("input", { type: "checkbox", id: "live", checked: true });
  const dots = el("input", { type: "checkbox", id: "dots", checked: true });
  const progress = el("div", {});
  const said = el("p", { class: "quiet", role: "status" });
  const told = el("div", {});
  const again = el("button", { type: "button", class: "main" }, "Draw again");
  /** @type {number[] | undefined} */
  let area;
  /** @type {number | null | undefined} */
  let step;
  /** @type {import("./work.js").Found | undefined} */
  let last;

  const draw = async () => {
    const found = await work(progress, `${of(about.name)}/density`, { box: area ?? null, points: 600 }, signal);
    [area, step, last] = [found.box, found.step, found];
    await paint(canvas, found, dots.checked);
    const where = (found.box ?? []).map((v) => v.toPrecision(3));
    said.textContent = `${step ? `after ${step.toLocaleString("en")} steps; ` : ""}x ${where[0]} to ${where[2]}, y ${where[1]} to ${where[3]}; ${found.said ?? ""}`;
    told.replaceChildren(kept(found));
  };
  const watch = async () => {
    await draw();
    for (;;) {
      await pause(EVERY, signal);
      if (!live.checked || document.hidden || again.disabled) continue;
      const now = await get(of(about.name), signal);
      if (now.step !== step) await draw();
    }
  };
  dots.addEventListener("change", () => last && paint(canvas, last, dots.checked));
  again.addEventListener("click", () =>
    busy(again, async () => {
      area = undefined;
      await draw();
    }),
  );
  box.append(
    el(
      "div",
      { class: "split" },
      el(
        "div",
        { class: "panel controls" },
        el("p", {}, el("label", { for: "live" }, live, "follow the training")),
        el("p", {}, el("label", { for: "dots" }, dots, "show samples")),
        el("p", { class: "quiet" }, "The map is drawn again when the run has written a newer checkpoint; “Draw again” also looks where the samples are now."),
        again,
      ),
      el("div", { class: "result" }, canvas, said, progress, told),
    ),
  );
  watch().catch(say);
}

/** @param {HTMLCanvasElement} canvas @param {import("./work.js").Found} found @param {boolean} dots */
async function paint(canvas, found, dots) {
  const image = new Image();
  image.src = found.shown[0].image ?? "";
  await image.decode();
  const pen = canvas.getContext("2d");
  if (!pen) return;
  pen.imageSmoothingEnabled = true;
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  const [left, bottom, right, top] = found.box ?? [0, 0, 1, 1];
  if (!dots) return;
  pen.fillStyle = "rgba(255, 255, 255, 0.75)";
  pen.strokeStyle = "rgba(0, 0, 0, 0.6)";
  for (const [x, y] of found.points ?? []) {
    pen.beginPath();
    pen.arc(((x - left) / (right - left)) * canvas.width, ((top - y) / (top - bottom)) * canvas.height, 2, 0, 2 * Math.PI);
    pen.fill();
    pen.stroke();
  }
}
