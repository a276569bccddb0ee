// @ts-check
/** A place to drop a file on, or to choose one; and examples of the run's own data for who has none at hand. */
import { send } from "../api.js";
import { el, say } from "../dom.js";
import { busy, of } from "./work.js";

/** @typedef {{id: string, name: string}} Own A picture that the server has. */

let count = 0;

/**
 * Make the place.
 * @param {string} name The run.
 * @param {(own: Own[]) => Promise<void> | void} taken
 * @param {{many?: boolean, sounds?: boolean, side?: () => string, signal: AbortSignal}} how
 */
export function dropPlace(name, taken, { many = false, sounds = false, side = () => "", signal }) {
  const id = `drop-${++count}`;
  const input = el("input", { id, type: "file", accept: sounds ? "audio/*" : "image/*,.npy,.tif,.tiff", multiple: many });
  const words = `${sounds ? "Drop a sound here" : many ? "Drop pictures here" : "Drop a picture here"}, or choose ${many ? "some" : "one"}`;
  const box = el("label", { class: "drop", for: id }, el("span", {}, words), input);
  const give = async (/** @type {FileList | null | undefined} */ files) => {
    if (!files?.length) return;
    const form = new FormData();
    for (const file of many ? files : [files[0]]) form.append("files", file, file.name);
    box.classList.add("busy");
    try {
      await taken(await send("/api/play/pictures", form, { signal }));
    } catch (error) {
      say(error);
    } finally {
      box.classList.remove("busy");
      input.value = "";
    }
  };
  input.addEventListener("change", () => give(input.files));
  box.addEventListener("dragover", (event) => {
    event.preventDefault();
    box.classList.add("over");
  });
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    box.classList.remove("over");
    give(event.dataTransfer?.files);
  });
  let index = 0;
  const example = el("button", { type: "button" }, "Take an example");
  example.addEventListener("click", () =>
    busy(example, async () => {
      const own = await send(`${of(name)}/example`, { index: index++ % 64, side: side() }, { signal });
      await taken([own]);
    }),
  );
  return el("div", { class: "dropping" }, box, el("p", {}, example, " ", el("small", { class: "quiet" }, "of the test data")));
}
