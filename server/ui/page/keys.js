// The keyboard: while code is edited, and while a cell is chosen.

import { h } from "./dom.js";

const editing = [
  ["Shift+Enter", "run, and go to the next cell"], ["Ctrl+Enter", "run"], ["Alt+Enter", "run, and make a cell below"], ["Tab", "complete, or indent"],
  ["Ctrl+Space", "complete"], ["Shift+Tab", "what is known of the name"], ["Ctrl+/", "comment lines"], ["Esc", "choose the cell"],
];
const choosing = [
  ["Enter", "edit"], ["↑ ↓ or k j", "go to another cell"], ["a b", "make a cell above, below"], ["d d", "delete"], ["i i", "interrupt"], ["0 0", "restart"],
  ["c", "contexts"], ["f", "files"], ["?", "this list"],
];

let before = { key: "", time: 0 };

/** Handles a key of a session. */
export function commands(session, e) {
  if (e.defaultPrevented || document.querySelector("dialog[open]")) return;
  const cell = session.selected;
  const inCode = e.target.matches?.(".editor textarea");
  if (e.key === "Enter" && cell && (inCode || e.target === cell.element) && (e.shiftKey || e.ctrlKey || e.metaKey || e.altKey)) {
    e.preventDefault();
    void session.run(cell);
    if (e.altKey) session.edit(session.beside(cell, true));
    else if (e.shiftKey) session.edit(session.neighbour(cell, 1) ?? session.append());
    return;
  }
  if (inCode) {
    const { value, selectionStart: at, selectionEnd: to } = e.target;
    if (e.key === "Escape") session.select(cell);
    else if (e.key === "ArrowUp" && at === to && !value.slice(0, at).includes("\n")) move(session, cell, -1, e);
    else if (e.key === "ArrowDown" && at === to && !value.slice(to).includes("\n")) move(session, cell, 1, e);
    return;
  }
  if (e.target.matches?.("input, select, button, a, textarea") || e.ctrlKey || e.metaKey || e.altKey) return;
  const twice = before.key === e.key && e.timeStamp - before.time < 800;
  before = twice ? { key: "", time: 0 } : { key: e.key, time: e.timeStamp };
  const act = {
    Enter: () => cell && session.edit(cell), ArrowUp: () => choose(session, -1), ArrowDown: () => choose(session, 1), k: () => choose(session, -1),
    j: () => choose(session, 1), a: () => cell && session.select(session.beside(cell, false)), b: () => session.select(cell ? session.beside(cell, true) : session.append()),
    d: () => twice && cell && session.remove(cell), i: () => twice && session.interrupt(), 0: () => twice && session.restart(), c: () => session.showList(), f: () => session.toggleFiles(), "?": help,
  }[e.key];
  if (!act) return;
  e.preventDefault();
  act();
}

function choose(session, step) {
  const next = session.selected ? session.neighbour(session.selected, step) : session.ordered()[0];
  if (next) session.select(next);
}

/** Leaves the first or last line for the cell beside. */
function move(session, cell, step, e) {
  const next = session.neighbour(cell, step);
  if (!next) return;
  e.preventDefault();
  session.edit(next);
  const at = step < 0 ? next.editor.value.length : 0;
  next.editor.area.setSelectionRange(at, at);
}

/** Shows what keys there are. */
export function help() {
  const list = (title, keys) => [h("h3", {}, title), h("dl", {}, keys.flatMap(([key, what]) => [h("dt", {}, key.split(" ").map((k) => k === "or" ? " or " : h("kbd", {}, k))), h("dd", {}, what)]))];
  const dialog = h("dialog", { class: "dialog keys", onclose: () => dialog.remove() }, h("form", { method: "dialog" },
    h("h2", {}, "Keys"), list("While editing", editing), list("While a cell is chosen", choosing),
    h("div", { class: "row end" }, h("button", { class: "button primary", autofocus: true }, "Close"))));
  document.body.append(dialog);
  dialog.showModal();
}
