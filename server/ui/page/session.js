// A live view of one context: its runs as cells, and what is to be run next. Cells are those of the journal, so that all viewers see
// the same; a run names its cell by a place and a name, "2.5~k3x9", which puts cells in the same order everywhere.

import { key as daemonKey } from "./api.js";
import { Cell } from "./cell.js";
import { Bridge } from "./client.js";
import { contextList, nameOf } from "./contexts.js";
import { chosen, h, icon, soon, toast } from "./dom.js";
import { Drafts } from "./drafts.js";
import { FilesPanel } from "./files.js";
import { commands, help } from "./keys.js";
import { Lifetime } from "./lifetime.js";

const CELL = /^(-?\d+(?:\.\d+)?)~[a-z0-9]{1,20}$/;

/** Shows a session; the result ends the view. */
export function session(app, id, signOut) {
  const view = new Session(app, id, signOut);
  return () => view.leave();
}

class Session {
  constructor(app, id, signOut) {
    this.id = id;
    this.turn = 0;
    this.cells = new Map();
    this.byRun = new Map(); // run to cell
    this.running = new Set(); // runs
    this.live = false;
    this.language = "python";
    this.selected = null;
    this.draw(app, signOut);
    this.save = soon(() => this.saveDrafts());
    this.open();
    this.poke = () => document.hidden || this.bridge.poke();
    this.onkey = (e) => commands(this, e);
    addEventListener("online", this.poke);
    document.addEventListener("visibilitychange", this.poke);
    document.addEventListener("keydown", this.onkey);
  }

  draw(app, signOut) {
    document.title = `${this.id} · ds-sandbox`;
    const button = (name, label, act, more = {}) => h("button", { class: "button tool", title: label, "aria-label": label, onclick: act, ...more }, icon(name), h("span", {}, more.text ?? label));
    this.state = h("span", { class: "state", role: "status" });
    this.banner = h("div", { class: "banner", role: "status", hidden: true });
    this.list = h("div", { class: "cells" });
    this.lifetime = new Lifetime(this.id);
    this.files = new FilesPanel(this.id, () => this.toggleFiles(false));
    this.chooser = h("select", { class: "contexts", "aria-label": "Context", hidden: true, onchange: () => this.switchTo(this.chooser.value) });
    this.stop = button("stop", "Interrupt", () => this.interrupt());
    app.append(
      h("header", { class: "bar" },
        h("a", { class: "brand", href: "#/", title: "All sandboxes" }, h("img", { src: "/ui/icon.svg", alt: "All sandboxes", width: 22, height: 22 })),
        h("code", { class: "name" }, this.id), this.chooser, this.state, h("span", { class: "space" }),
        this.stop, button("restart", "Restart", () => this.restart()), button("contexts", "Contexts", () => this.showList()), button("files", "Files", () => this.toggleFiles()),
        button("help", "Keys", help, { class: "button tool wide-only" })),
      this.banner, this.lifetime.element,
      h("div", { class: "work" },
        h("main", { class: "notebook" }, this.list,
          h("div", { class: "row adder" }, h("button", { class: "button quiet", onclick: () => this.edit(this.append()) }, icon("plus"), "Cell"))),
        this.files.element));
    this.signOut = signOut;
    this.showState();
  }

  open(context) {
    const turn = ++this.turn; // an earlier bridge may still have something to say
    this.bridge = undefined;
    this.bridge = new Bridge({
      url: location.origin, token: daemonKey.get(), sandbox: this.id, context,
      onEvent: (e) => turn === this.turn && this.take(e), onState: (state, retryAt) => turn === this.turn && this.connection(state, retryAt),
    });
    // What cells ask for.
    this.ask = { complete: (code, at) => this.bridge.complete(code, at), inspect: (code, at) => this.bridge.inspect(code, at) };
    const asked = new Map();
    this.library = (name) => {
      if (!asked.has(name)) {
        const promise = this.bridge.library(this.shown.id, name);
        promise.catch(() => asked.delete(name));
        asked.set(name, promise);
      }
      return asked.get(name);
    };
  }

  leave() {
    this.saveDrafts();
    this.turn++;
    this.bridge.close();
    this.lifetime.end();
    clearInterval(this.countdown);
    removeEventListener("online", this.poke);
    document.removeEventListener("visibilitychange", this.poke);
    document.removeEventListener("keydown", this.onkey);
  }

  connection(state, retryAt) {
    clearInterval(this.countdown);
    this.banner.hidden = state === "open";
    this.banner.classList.toggle("bad", state === "closed");
    const again = h("button", { class: "link", onclick: () => this.bridge.poke() }, "now");
    if (state === "connecting") this.banner.replaceChildren("Connecting …");
    if (state === "waiting") {
      const tell = () => this.banner.replaceChildren(`The connection was lost. Runs go on; trying again in ${Math.max(1, Math.ceil((retryAt - Date.now()) / 1000))} s, or `, again, ".");
      tell();
      this.countdown = setInterval(tell, 1000);
    }
    if (state === "closed") this.closed(this.bridge?.error);
    this.showState();
  }

  closed(error) {
    if (error?.code === "unauthorized") return this.signOut();
    this.running.clear();
    for (const cell of this.cells.values()) {
      if (cell.state === "waiting") cell.refuse("It was not run.");
    }
    if (this.removed) {
      this.banner.replaceChildren("This context was removed. ", h("button", { class: "link", onclick: () => this.switchTo() }, "Show the sandbox's default one"));
      return;
    }
    this.lifetime.end();
    const why = { gone: "This session has ended: its sandbox was killed.", not_found: "There is no such sandbox; it may have ended." }[error?.code];
    this.banner.replaceChildren(`${why ?? error?.message ?? "The session is closed."} `, h("a", { href: "#/" }, "All sandboxes"));
  }

  take(event) {
    switch (event.type) {
      case "hello":
        this.greet(event);
        break;
      case "live":
        this.goLive();
        break;
      case "gone":
        this.removed = event.reason === "removed";
        break;
      case "started":
        if (event.silent) return;
        this.running.add(event.run);
        this.cellOf(event)?.take(event);
        break;
      case "restarted":
        this.restarted(event.undone);
        break;
      case "dropped":
        if (!this.byRun.size) this.note(`${event.entries} earlier events are no longer kept.`);
        break;
      case "update":
        for (const cell of this.cells.values()) cell.outputs.update(event.result);
        break;
      default:
        this.byRun.get(event.run)?.take(event);
    }
    if (event.type === "done") {
      this.running.delete(event.run);
      if (this.live && event.usage.files?.length) void this.files.refresh();
    }
    if (event.type === "done" || event.type === "started") this.showState();
  }

  greet(event) {
    this.shown = event.context;
    this.language = event.context.language;
    this.drafts = new Drafts(`${this.id}:${this.shown.id}`);
    this.showContexts(event.contexts);
    if (event.journal === this.journal) return;
    this.journal = event.journal; // its first events follow
    this.live = false;
    this.cells.clear();
    this.byRun.clear();
    this.running.clear();
    this.list.replaceChildren();
    this.hidden = new Map(Object.entries(this.drafts.load().hidden));
  }

  goLive() {
    if (this.live) return;
    this.live = true;
    for (const [key, position, code] of this.drafts.load().cells) {
      const cell = this.cells.get(key) ?? this.insert(key, position);
      cell.editor.value = code;
      cell.mark();
    }
    const last = this.ordered().at(-1);
    const ready = last && !last.run ? last : this.append();
    if (matchMedia("(pointer: fine)").matches) this.edit(ready);
    else ready.element.scrollIntoView({ block: "nearest" });
    this.showState();
  }

  showList() {
    if (this.bridge.state === "open") contextList(this);
  }

  showContexts(contexts) {
    this.chooser.hidden = contexts.length < 2;
    this.chooser.replaceChildren(...contexts.map((c) => h("option", { value: c.id, ".selected": c.id === this.shown.id }, nameOf(c, contexts))));
  }

  /** Shows another context; the default one when none is named. */
  switchTo(context) {
    this.saveDrafts();
    this.turn++;
    this.bridge.close();
    this.journal = undefined;
    this.removed = false;
    this.open(context);
  }

  /** The cell that a run belongs to; undefined when it was deleted here. */
  cellOf(event) {
    const [, place] = CELL.exec(event.cell ?? "") ?? [];
    const key = place ? event.cell : `run-${event.run}`;
    if (event.run <= (this.hidden.get(key) ?? -1)) return undefined;
    let cell = this.cells.get(key);
    if (!cell) {
      const position = place ? Number(place) : this.nextPlace();
      this.makeRoom(position);
      cell = this.insert(key, position);
    }
    this.byRun.set(event.run, cell);
    return cell;
  }

  /** Cells at the end that were never run stay behind one that was run elsewhere. */
  makeRoom(position) {
    const list = this.ordered();
    const tail = list.slice(list.findLastIndex((c) => c.run) + 1);
    if (!tail.length || tail[0].position > position) return;
    for (const [i, cell] of tail.entries()) {
      cell.position = Math.floor(position) + 1 + i;
      this.rename(cell);
    }
  }

  nextPlace() {
    let most = 0;
    for (const cell of this.cells.values()) if (cell.run) most = Math.max(most, cell.position);
    return Math.floor(most) + 1;
  }

  ordered() {
    return [...this.cells.values()].sort((a, b) => a.position - b.position || (a.key < b.key ? -1 : 1));
  }

  /** A new cell at its place. Those that are there don't move: frames in them would load again. */
  insert(key, position) {
    const cell = new Cell(key, position, this);
    const after = this.ordered().find((c) => c.position > position || (c.position === position && c.key > key));
    this.cells.set(key, cell);
    this.list.insertBefore(cell.element, after?.element ?? null);
    return cell;
  }

  add(position) {
    return this.insert(`${position}~${Math.random().toString(36).slice(2, 8)}`, position);
  }

  append() {
    return this.add(Math.floor(this.ordered().at(-1)?.position ?? 0) + 1);
  }

  /** A new cell beside another. */
  beside(cell, below) {
    const list = this.ordered();
    const at = list.indexOf(cell);
    const other = list[at + (below ? 1 : -1)]?.position ?? cell.position + (below ? 2 : -2);
    return this.add(Number(((cell.position + other) / 2).toFixed(12)));
  }

  remove(cell) {
    if (cell.run) this.hidden.set(cell.key, cell.run);
    const next = this.neighbour(cell, 1) ?? this.neighbour(cell, -1);
    this.cells.delete(cell.key);
    for (const [run, c] of this.byRun) if (c === cell) this.byRun.delete(run);
    cell.element.remove();
    this.select(next ?? this.append());
    this.save();
  }

  neighbour(cell, step) {
    const list = this.ordered();
    return list[list.indexOf(cell) + step];
  }

  select(cell) {
    cell.element.focus({ preventScroll: true });
    cell.element.scrollIntoView({ block: "nearest" });
  }

  edit(cell) {
    cell.editor.focus();
  }

  focused(cell) {
    this.selected?.element.classList.remove("selected");
    this.selected = cell;
    cell.element.classList.add("selected");
  }

  changed() {
    this.save();
  }

  saveDrafts() {
    if (!this.live) return;
    const cells = this.ordered().filter((c) => c.dirty && c.editor.value).map((c) => [c.key, c.position, c.editor.value]);
    this.drafts.save(cells, Object.fromEntries(this.hidden));
  }

  async run(cell) {
    const code = cell.editor.value;
    if (!code.trim()) return;
    // A cell that another client's run made has no name of its own that a run could have.
    const named = CELL.test(cell.key) ? cell : this.rename(cell);
    const connected = this.bridge.state === "open";
    named.wait();
    try {
      await this.bridge.run(code, { cell: named.key });
    } catch (e) {
      void this.lifetime.look(); // it may be paused
      if (e.code !== "disconnected") named.refuse(e.message);
      else if (!connected) named.refuse("There is no connection just now, so it was not run.");
      else if (named.state === "waiting") toast("The connection was lost; the cell shows whether its run began.", true);
    }
    this.save();
    return named;
  }

  rename(cell) {
    if (cell.run) this.hidden.set(cell.key, cell.run);
    this.cells.delete(cell.key);
    cell.key = `${cell.position}~${Math.random().toString(36).slice(2, 8)}`;
    cell.element.dataset.key = cell.key;
    this.cells.set(cell.key, cell);
    return cell;
  }

  answer(run, value) {
    this.bridge.input(run, value).catch((e) => toast(e.message, true));
  }

  interrupt() {
    this.bridge.interrupt(true).catch((e) => toast(e.message, true));
  }

  async restart() {
    const wish = await chosen("Restart the interpreter? Its variables are lost; files stay.", ["Restart and run all", "Restart"]);
    if (!wish) return;
    try {
      await this.bridge.restart();
    } catch (e) {
      return toast(e.message, true);
    }
    if (wish !== "Restart") await this.runAll();
  }

  /** Runs the cells one after the other, until one fails. */
  async runAll() {
    for (const cell of this.ordered()) {
      if (!cell.editor.value.trim()) continue;
      const ran = await this.run(cell);
      await ran.over;
      if (ran.state !== "done") return;
    }
  }

  restarted(undone) {
    for (const cell of this.cells.values()) if (cell.run && cell.state !== "running") cell.element.classList.add("stale");
    if (this.live) toast(undone ? "Undone: the variables are what they were before." : "A new interpreter has started; the variables are lost.");
  }

  note(text) {
    this.list.append(h("p", { class: "note between" }, text));
  }

  toggleFiles(on) {
    this.files.toggle(on);
    document.body.classList.toggle("with-files", this.files.open);
  }

  showState() {
    const connected = this.bridge?.state === "open" || !this.bridge;
    const state = !connected ? this.bridge.state === "closed" ? "ended" : "offline" : !this.live ? "loading" : this.running.size ? "busy" : "idle";
    this.state.className = `state ${state}`;
    this.state.textContent = state;
    this.stop.disabled = !this.running.size;
    const mark = state === "busy" ? "● " : "";
    document.title = `${mark}${this.id} · ds-sandbox`;
  }
}

