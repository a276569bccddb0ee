// @ts-check
/** Two runs side by side on the same seeds. */
import { ask } from "./api.js";
import { commandLine, download, el } from "./dom.js";
import { count, remember, runChoice } from "./judge.js";

/** @type {import("./judge.js").Way} */
export function sidePage(place, all, { signal, query }) {
  const runs = all.filter((r) => r.abilities.includes("samples"));
  if (!runs.length) {
    place.append(el("p", { class: "quiet" }, "No run here draws samples."));
    return;
  }
  const asked = query.getAll("run");
  const sides = [0, 1].map((i) => {
    const name = asked[i] && runs.some((r) => r.name === asked[i]) ? asked[i] : runs[Math.min(i, runs.length - 1)].name;
    const choice = runChoice(i ? "Right" : "Left", runs, name, () => draw());
    return { ...choice, shown: el("figure", { class: "side" }) };
  });
  const seed = count("Seed", Number(query.get("seed") ?? 0), 0, 2 ** 53 - 1), n = count("Samples", 16, 1, 64);
  const next = el("button", { type: "button", onclick: () => { seed.input.value = String(Number(seed.input.value) + 1); draw(); } }, "Next seed");
  for (const f of [seed, n]) f.input.addEventListener("change", () => draw());
  place.append(el("div", { class: "ask" }, sides[0].place, sides[1].place, seed.place, n.place, next), el("div", { class: "sides" }, sides[0].shown, sides[1].shown));
  /** @type {AbortController | undefined} */
  let mine;
  /** @type {string[]} */
  const urls = ["", ""];

  function draw() {
    if (!seed.input.reportValidity() || !n.input.reportValidity()) return;
    mine?.abort();
    const now = (mine = new AbortController());
    const end = AbortSignal.any([signal, now.signal]);
    remember("side", [...sides.map((s) => /** @type {[string, string]} */ (["run", s.select.value])), ["seed", seed.input.value]]);
    sides.forEach(async (side, i) => {
      const name = side.select.value;
      if (!side.shown.children.length) side.shown.replaceChildren(el("div", { class: "blank" }, "drawing …"));
      side.shown.setAttribute("aria-busy", "true");
      try {
        const answer = await ask(`/api/judge/samples.png?${new URLSearchParams({ run: name, seed: seed.input.value, n: n.input.value })}`, { signal: end });
        const blob = await answer.blob();
        const line = decodeURIComponent(answer.headers.get("x-command") ?? "");
        URL.revokeObjectURL(urls[i]);
        urls[i] = URL.createObjectURL(blob);
        side.shown.replaceChildren(
          el("img", { class: "pixels", src: urls[i], alt: `${n.input.value} samples of ${name}, seed ${seed.input.value}` }),
          el("figcaption", {}, `${name}, seed ${seed.input.value}`, el("button", { type: "button", class: "small", onclick: () => download(blob, `${name}-seed-${seed.input.value}.png`) }, "Download")),
          commandLine(line));
      } catch (error) {
        if (!end.aborted) side.shown.replaceChildren(el("p", { class: "mistake" }, error instanceof Error ? error.message : ""));
      } finally {
        side.shown.removeAttribute("aria-busy");
      }
    });
  }
  draw();
  return () => urls.forEach((u) => URL.revokeObjectURL(u));
}
