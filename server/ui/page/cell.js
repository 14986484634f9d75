// One cell: code, and what its last run showed.

import { Editor } from "./editor.js";
import { bytes, h, icon, milliseconds } from "./dom.js";
import { Outputs } from "./outputs.js";

export class Cell {
  /** notebook has run(cell), changed(cell), focused(cell), ask, language, answer(run, value), library(name). */
  constructor(key, position, notebook) {
    this.key = key;
    this.position = position;
    this.notebook = notebook;
    this.run = 0; // the last one
    this.code = ""; // that it ran
    this.mine = false; // the run was asked for here
    this.state = "new"; // "waiting", "running", "done", "failed"
    this.prompt = h("div", { class: "prompt" });
    this.button = h("button", { class: "run", title: "Run (Shift+Enter)", "aria-label": "Run", onclick: () => notebook.run(this) }, icon("run"));
    this.editor = new Editor({
      ask: notebook.ask, language: notebook.language, label: "Code", onchange: () => { this.mark(); notebook.changed(this); }, onfocus: () => notebook.focused(this),
    });
    this.outputs = new Outputs(notebook.library);
    this.figures = h("p", { class: "figures" });
    this.elapsed = h("p", { class: "elapsed", "aria-hidden": "true", hidden: true });
    this.element = h("section", { class: "cell", tabindex: -1, "data-key": key },
      h("div", { class: "gutter" }, this.prompt, this.button), h("div", { class: "body" }, this.editor.element, this.outputs.element, this.elapsed, this.figures));
    this.element.addEventListener("focus", () => notebook.focused(this));
    this.mark();
  }

  get dirty() {
    return this.editor.value !== this.code;
  }

  /** Shows the state. */
  mark() {
    const e = this.element;
    e.classList.toggle("running", this.state === "running");
    e.classList.toggle("waiting", this.state === "waiting");
    e.classList.toggle("failed", this.state === "failed");
    e.classList.toggle("changed", this.run > 0 && this.dirty);
    this.showElapsed();
    this.prompt.textContent = this.state === "running" || this.state === "waiting" ? "[*]" : this.count ? `[${this.count}]` : "";
  }

  /** Says how long the code runs, once that is a while. */
  showElapsed() {
    clearTimeout(this.clock);
    const ms = Date.now() - (this.began ?? Infinity);
    this.elapsed.hidden = !(this.state === "running" && ms > 2000);
    this.elapsed.textContent = `runs for ${milliseconds(Math.floor(Math.max(0, ms) / 1000) * 1000).replace(".0 s", " s")}`;
    if (this.state === "running") this.clock = setTimeout(() => this.element.isConnected && this.showElapsed(), 1000);
  }

  /** The code was sent, and waits for its turn. */
  wait() {
    this.over = new Promise((resolve) => { this.settle = resolve; });
    this.state = "waiting";
    this.mine = true;
    this.element.classList.remove("stale");
    this.mark();
  }

  refuse(problem) {
    this.state = "failed";
    this.outputs.clear();
    this.figures.textContent = "";
    this.outputs.note(problem, true);
    this.mark();
    this.settle?.();
  }

  /** Takes an event of a run of this cell. */
  take(event) {
    if (event.type === "started") {
      if (!this.dirty || !this.editor.value || !this.run) this.editor.value = event.code;
      [this.run, this.code, this.count, this.state] = [event.run, event.code, 0, "running"];
      this.began = Date.parse(event.time);
      this.outputs.clear();
      this.figures.textContent = "";
      this.element.classList.remove("stale");
      this.mark();
      return;
    }
    if (event.run !== this.run) return; // a newer run is shown
    const { outputs } = this;
    switch (event.type) {
      case "count":
        this.count = event.execution_count;
        break;
      case "stdout":
      case "stderr":
        outputs.write(event.type, event.text);
        break;
      case "result":
        outputs.show(event.result);
        break;
      case "pages":
        for (const page of event.pages) outputs.show(page);
        break;
      case "clear":
        outputs.clear(event.wait);
        break;
      case "input":
        outputs.ask(event, (value) => this.notebook.answer(event.run, value), this.mine);
        break;
      case "answered":
        outputs.answered(event.value);
        break;
      case "error":
        outputs.error(event.error);
        break;
      case "cut":
        outputs.note(`An output of ${bytes(event.bytes)} was too large and is left out here.`);
        break;
      case "done":
        outputs.answered();
        this.finish(event);
        break;
    }
  }

  finish(event) {
    this.count = event.execution_count ?? this.count;
    this.state = event.error || event.failure ? "failed" : "done";
    this.mine = false;
    if (event.failure) this.outputs.note(event.failure.message.replace(/^sandbox: run: (kernel: run: )?/, ""), true);
    else if (event.error && !this.outputs.element.querySelector(".error")) this.outputs.error(event.error);
    const { wall_ms: wall, cpu_ms: cpu, files = [] } = event.usage;
    const parts = [milliseconds(wall)];
    if (cpu > 100 && cpu > wall * 1.5) parts.push(`${milliseconds(cpu)} of processor time`);
    const changed = files.filter((f) => f.op !== "removed").map((f) => f.path);
    if (changed.length) parts.push(`wrote ${changed.slice(0, 3).join(", ")}${changed.length > 3 ? ` and ${changed.length - 3} more` : ""}`);
    this.figures.textContent = parts.join(" · ");
    this.mark();
    this.settle?.();
  }
}
