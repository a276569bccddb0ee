// @ts-check
/** A run: its samples over time, curves, health, measures, settings; stop and go on. */
import { get, send } from "./api.js";
import { commandLine, el, say } from "./dom.js";
import { to } from "./router.js";
import { charts } from "./run-curves.js";
import { evaluation } from "./run-evaluate.js";
import { film } from "./run-film.js";
import { at, atWork, badge, lookNow, notice, progress, style, watch } from "./runs-shared.js";

export const title = "Run";
/** @typedef {import("./runs-shared.js").Run} Run */

/** @type {import("./router.js").Page} */
export async function page(main, [name], { signal }) {
  await Promise.all([style("runs"), style("run")]);
  const said = notice();
  const head = el("div", { class: "run-head" });
  const bar = el("div", { class: "run-bar" });
  const actions = el("div", { class: "row actions" });
  const health = el("div");
  const samples = film(name, signal), curves = charts(), measures = evaluation(name);
  const settings = el("div"), commands = el("div"), output = el("div");
  main.append(
    el("p", { class: "quiet" }, el("a", { href: to("runs") }, "All runs")), said,
    el("div", { class: "head" }, head, actions), bar,
    el("div", { class: "run" },
      el("section", { "aria-labelledby": "samples" }, el("h2", { id: "samples" }, "The same samples over time"), samples.place),
      el("div", {},
        el("section", { "aria-labelledby": "health" }, el("h2", { id: "health" }, "Health"), health),
        el("section", { "aria-labelledby": "curves" }, el("h2", { id: "curves" }, "Curves"), curves.place))),
    measures.place,
    el("section", { "aria-labelledby": "commands" }, el("h2", { id: "commands" }, "In a terminal"), commands, output),
    el("section", { "aria-labelledby": "settings" }, el("h2", { id: "settings" }, "Settings"), settings),
  );
  /** @type {Record<string, string>} */
  const drawn = {};
  /** Draw a part only where it has changed. @param {HTMLElement} place @param {string} part @param {unknown} of @param {() => (Node | string)[]} make */
  function once(place, part, of, make) {
    const now = JSON.stringify(of);
    if (drawn[part] === now) return;
    drawn[part] = now;
    place.replaceChildren(...make());
  }

  let gone = 0;
  await watch(
    () => get(at(name), signal),
    (/** @type {Run} */ run) => {
      said.tell("");
      gone = 0;
      once(head, "head", [run.state, run.system, run.data], () => [
        el("div", { class: "row" }, el("h1", {}, run.name), badge(run.state)),
        el("p", { class: "quiet" }, [run.system, run.family, run.data && `trained on ${run.data}`].filter(Boolean).join(" · "))]);
      once(bar, "bar", [run.step, run.steps, run.state, run.left, run.why], () => standing(run));
      once(actions, "actions", [run.state, run.steps, run.abilities, run.pictures.length > 0], () => buttons(run));
      once(health, "health", [run.health, run.curves.length > 0], () => healthOf(run));
      samples.draw(run.pictures, run.state === "finished");
      curves.draw(run.curves, atWork(run) ? run.steps : null);
      measures.draw(run);
      once(commands, "commands", run.lines, () => Object.entries(run.lines).map(([what, line]) => el("div", { class: "named" }, el("span", { class: "quiet" }, what), commandLine(line))));
      printedOf(output, run);
      once(settings, "settings", run.settings, () => settingsOf(run));
      return atWork(run) || run.commands.evaluate?.running ? 1500 : 5000;
    },
    (error) => {
      const lost = "status" in error && error.status === 404;
      gone += 1;
      said.tell(lost ? `${error.message} What is shown is from before.` : `${error.message}${gone ? " It is asked again every few seconds; what is shown is from before." : ""}`);
      if (lost) actions.replaceChildren(el("a", { class: "button", href: to("runs") }, "All runs"));
      if (lost) delete drawn.actions;
    },
    signal,
  );
}

/** @param {Run} run */
function standing(run) {
  const found = [];
  if (run.steps) found.push(el("progress", { max: run.steps, value: Math.min(run.step, run.steps), "aria-label": "Steps done" }));
  found.push(el("p", { class: "number" }, progress(run)));
  if (run.why) found.push(el("p", { class: "mistake" }, run.why));
  return found;
}

/** @param {Run} run */
function buttons(run) {
  /** @param {string} what @param {object} [body] */
  const act = (what, body) => (/** @type {Event} */ event) => {
    const button = /** @type {HTMLButtonElement} */ (event.currentTarget);
    button.disabled = true;
    if (what === "stop") button.textContent = "Stopping: it saves first …";
    send(at(run.name, `/${what}`), body).then(lookNow, (error) => { say(error); button.disabled = false; });
  };
  const found = [];
  if (atWork(run)) found.push(el("button", { type: "button", onclick: act("stop") }, "Stop"));
  if (run.state === "stopped" || (run.state === "failed" && run.step)) found.push(el("button", { type: "button", class: "main", onclick: act("resume") }, "Resume"));
  if (run.state === "finished" && run.steps) {
    const steps = run.steps;
    const more = el("input", { type: "number", min: String(steps + 1), value: String(2 * steps), "aria-label": "Steps in all" });
    found.push(el("span", { class: "longer" }, more, el("button", { type: "button", onclick: (/** @type {Event} */ event) => act("resume", { steps: Number(more.value) })(event) }, "Train longer")));
  }
  if (run.state !== "damaged" && (run.pictures.length || run.state === "imported")) {
    found.push(el("a", { class: "button", href: to("play", run.name) }, "Play"));
    found.push(el("a", { class: "button", href: `${to("judge", "compare")}?run=${encodeURIComponent(run.name)}` }, "Judge"));
  }
  return found;
}

/** @param {Run} run */
function healthOf(run) {
  if (run.health.length) return [el("ul", { class: "health" }, ...run.health.map((sentence) => el("li", {}, sentence)))];
  return [el("p", { class: "quiet" }, run.curves.length ? "The trainer sees no sign of a training that goes wrong." : "Nothing has been logged yet.")];
}

/** @param {HTMLElement} place @param {Run} run */
function printedOf(place, run) {
  const there = Object.entries(run.commands).filter(([verb, c]) => c.printed.length && verb !== "evaluate");
  const [, command] = there.find(([, c]) => c.running) ?? there[there.length - 1] ?? [];
  if (!command) {
    place.replaceChildren();
    return;
  }
  let box = place.querySelector("pre");
  if (!box) {
    box = el("pre", { tabIndex: 0, "aria-label": "What the command printed" });
    place.replaceChildren(el("details", {}, el("summary", {}, "What it printed"), box));
  }
  const text = command.printed.join("\n");
  if (box.textContent === text) return;
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 20;
  box.textContent = text;
  if (atEnd) box.scrollTop = box.scrollHeight;
}

/** @param {Run} run */
function settingsOf(run) {
  if (!run.settings.length) return [el("p", { class: "quiet" }, "They are kept with the model alone.")];
  /** @param {string} name @param {Run["settings"]} rows */
  const table = (name, rows) => el("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": name }, el("table", {},
    el("thead", {}, el("tr", {}, ...["Setting", "Value", "Default", "What it does"].map((h) => el("th", { scope: "col" }, h)))),
    el("tbody", {}, ...rows.map((s) => el("tr", {}, el("th", { scope: "row" }, el("code", {}, s.name)), el("td", { class: "number" }, s.value || "(empty)"),
      el("td", { class: "number quiet" }, s.default ?? "–"), el("td", { class: "quiet" }, s.doc))))));
  const changed = run.settings.filter((s) => s.changed);
  return [
    changed.length ? table("Changed settings", changed) : el("p", { class: "quiet" }, "All at their defaults."),
    el("details", {}, el("summary", {}, `All ${run.settings.length} settings`), table("All settings", run.settings)),
  ];
}
