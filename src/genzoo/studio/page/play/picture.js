// @ts-check
/** A picture of one's own: what the code keeps of it, and the latent whose image comes nearest to it. */
import { el } from "../dom.js";
import { dropPlace } from "./drop.js";
import { seedField } from "./options.js";
import { Pins } from "./pins.js";
import { film, kept, picture, thing } from "./show.js";
import { busy, of, work } from "./work.js";

/** @type {import("./play.js").Panel} */
export function panel(box, about, signal) {
  /** @type {import("./drop.js").Own | undefined} */
  let own;
  const chosen = el("p", { class: "quiet", role: "status" });
  const progress = el("div", {});
  const result = el("div", {});
  const steps = el("input", { type: "range", id: "project-steps", min: "20", max: "1000", step: "20", value: "200" });
  const told = el("output", { for: "project-steps", class: "number" }, "200");
  steps.addEventListener("input", () => (told.textContent = steps.value));
  const seed = seedField(() => {});
  const pins = new Pins(about, () => {});

  /** @param {string} verb @param {HTMLButtonElement} button @param {object} more */
  const ask = (verb, button, more) =>
    busy(button, async () => {
      if (!own) return;
      const found = await work(progress, `${of(about.name)}/${verb}`, { picture: own.id, ...more }, signal);
      const pin = el("button", { type: "button", onclick: () => (pins.add(found.at ?? "", found.shown[0]), (pin.disabled = true)) }, "Pin it for Explore");
      const before = el("figure", {}, picture(found.given ?? "", "your picture as the model sees it"), el("figcaption", { class: "quiet" }, "your picture"));
      const caption = verb === "project" ? "nearest that it can make" : "decoded from its code";
      const after = el("figure", {}, thing(found.shown[0], caption), el("figcaption", { class: "quiet" }, caption));
      const way = found.way && found.way.length > 1 ? el("figure", {}, film(found.way, "the search"), el("figcaption", { class: "quiet" }, "the way there")) : null;
      result.replaceChildren(el("div", { class: "pair" }, before, after, way), el("p", { class: "number" }, found.said ?? ""), about.moves ? el("p", {}, pin) : "", kept(found));
    });

  const reconstruct = el("button", { type: "button", class: "main", disabled: true }, "Reconstruct");
  const project = el("button", { type: "button", class: about.encodes ? "" : "main", disabled: true }, "Project");
  reconstruct.addEventListener("click", () => ask("reconstruct", reconstruct, {}));
  project.addEventListener("click", () => ask("project", project, { steps: Number(steps.value), seed: seed.value }));
  const drop = dropPlace(
    about.name,
    async ([first]) => {
      own = first;
      chosen.textContent = `${first.name}: scaled and cut to ${about.shape.slice(1).join(" × ")} pixels`;
      reconstruct.disabled = project.disabled = false;
      if (about.encodes) await ask("reconstruct", reconstruct, {});
    },
    { signal },
  );
  const searching = el(
    "fieldset",
    {},
    el("legend", {}, "Project"),
    el("p", { class: "quiet" }, "Search by gradients for the latent whose image is nearest."),
    el("div", { class: "field" }, el("label", { for: "project-steps" }, "steps", told), steps),
    seed.node,
    project,
  );
  const coding = el("fieldset", {}, el("legend", {}, "Reconstruct"), el("p", { class: "quiet" }, "Encode it and decode it again."), reconstruct);
  box.append(
    el("div", { class: "split" }, el("div", { class: "controls" }, drop, chosen, about.encodes ? coding : null, about.projects ? searching : null), el("div", { class: "result" }, progress, result)),
  );
}
