// A field for code: a textarea over the same text in colours, with completion and help from the kernel.

import { terminalText } from "./ansi.js";
import { h } from "./dom.js";
import { paint } from "./python.js";

const SHOWN = 200; // matches

export class Editor {
  /** ask has complete(code, cursor) and inspect(code, cursor), language; onchange hears of every change. */
  constructor({ ask, language, label, onchange, onfocus }) {
    this.ask = ask;
    this.language = language;
    this.onchange = onchange;
    this.code = h("code");
    this.area = h("textarea", {
      rows: 1, spellcheck: "false", autocapitalize: "off", autocomplete: "off", autocorrect: "off", "aria-label": label,
      oninput: () => this.changed(), onkeydown: (e) => this.key(e), onblur: () => this.close(), onfocus,
    });
    this.element = h("div", { class: "editor" }, h("pre", { "aria-hidden": "true" }, this.code, "\n"), this.area);
    this.matches = null;
    this.asked = 0;
    paint(this.code, "");
  }

  get value() {
    return this.area.value;
  }

  set value(text) {
    if (text === this.area.value) return;
    this.area.value = text;
    paint(this.code, text, this.language);
  }

  focus() {
    this.area.focus({ preventScroll: true });
    this.element.scrollIntoView({ block: "nearest" });
  }

  changed() {
    paint(this.code, this.area.value, this.language);
    this.help?.remove();
    if (this.popup) {
      const before = this.area.value.slice(0, this.area.selectionStart);
      if (/[\w.]$/.test(before)) void this.complete(true);
      else this.close();
    }
    this.onchange();
  }

  /** Replaces a part as typing would, so that it can be undone. */
  insert(text, start = this.area.selectionStart, end = this.area.selectionEnd) {
    this.area.setSelectionRange(start, end);
    if (!document.execCommand("insertText", false, text)) {
      this.area.setRangeText(text, start, end, "end");
      this.changed();
    }
  }

  key(e) {
    if (this.popup && this.popupKey(e)) {
      e.preventDefault();
      e.stopPropagation();
      return;
    }
    const { value, selectionStart: at, selectionEnd: to } = this.area;
    if (e.key === "Tab" && !e.ctrlKey && !e.altKey && !e.metaKey) {
      e.preventDefault();
      if (e.shiftKey) void this.inspect();
      else if (at !== to || /^\s*$/.test(value.slice(value.lastIndexOf("\n", at - 1) + 1, at))) this.insert("    ", at, at);
      else void this.complete(false);
    } else if (e.key === " " && e.ctrlKey) {
      e.preventDefault();
      void this.complete(false);
    } else if (e.key === "Enter" && !e.shiftKey && !e.ctrlKey && !e.altKey && !e.metaKey && !e.isComposing) {
      e.preventDefault();
      const line = value.slice(value.lastIndexOf("\n", at - 1) + 1, at);
      const [indent] = /^[ \t]*/.exec(line);
      this.insert("\n" + indent + (/:\s*(#.*)?$/.test(line) ? "    " : ""));
    } else if (e.key === "Backspace" && at === to) {
      const line = value.slice(value.lastIndexOf("\n", at - 1) + 1, at);
      if (line.length && line.length % 4 === 0 && /^ +$/.test(line)) {
        e.preventDefault();
        this.area.setSelectionRange(at - 4, at);
        document.execCommand("delete");
      }
    } else if (e.key === "Escape" && this.help) {
      e.stopPropagation();
      this.help.remove();
      this.help = null;
    } else if (e.key === "/" && (e.ctrlKey || e.metaKey)) {
      e.preventDefault();
      this.comment();
    }
  }

  /** Makes the selected lines comments, or no comments. */
  comment() {
    const { value, selectionStart, selectionEnd } = this.area;
    const start = value.lastIndexOf("\n", selectionStart - 1) + 1;
    let end = value.indexOf("\n", selectionEnd);
    if (end < 0) end = value.length;
    const lines = value.slice(start, end).split("\n");
    const off = lines.every((l) => /^\s*(#|$)/.test(l));
    const changed = lines.map((l) => off ? l.replace(/^(\s*)# ?/, "$1") : l.replace(/^(\s*)(?=\S)/, "$1# ")).join("\n");
    this.insert(changed, start, end);
    this.area.setSelectionRange(start, start + changed.length);
  }

  async complete(again) {
    const turn = ++this.asked;
    const { value, selectionStart: at } = this.area;
    let found;
    try {
      found = await this.ask.complete(value, at);
    } catch {
      return;
    }
    if (turn !== this.asked || value !== this.area.value || at !== this.area.selectionStart || document.activeElement !== this.area) return;
    if (!found.matches.length) return this.close();
    if (!again && found.matches.length === 1) {
      this.close();
      this.insert(found.matches[0].text, found.start, found.end);
      return;
    }
    this.open(found);
  }

  open(found) {
    this.close();
    this.found = found;
    this.chosen = 0;
    this.options = found.matches.slice(0, SHOWN).map((m, i) => h("li", {
      role: "option", onmousedown: (e) => { e.preventDefault(); this.choose(i); this.accept(); },
    }, h("code", {}, m.text), m.kind && h("small", {}, m.kind)));
    this.popup = h("ul", { class: "matches", role: "listbox" }, this.options);
    this.place(this.popup, found.start);
    this.choose(0);
  }

  choose(i) {
    this.options[this.chosen]?.removeAttribute("aria-selected");
    this.chosen = (i + this.options.length) % this.options.length;
    this.options[this.chosen].setAttribute("aria-selected", "true");
    this.options[this.chosen].scrollIntoView({ block: "nearest" });
  }

  popupKey(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return false;
    if (e.key === "ArrowDown" || (e.key === "Tab" && !e.shiftKey && this.options.length > 1)) this.choose(this.chosen + 1);
    else if (e.key === "ArrowUp" || e.key === "Tab") this.choose(this.chosen - 1);
    else if (e.key === "Enter" && !e.shiftKey) this.accept();
    else if (e.key === "Escape") this.close();
    else return false;
    return true;
  }

  accept() {
    const { start, end, matches } = this.found;
    const text = matches[this.chosen].text;
    this.close();
    this.insert(text, start, end);
    this.close();
  }

  close() {
    this.asked++;
    this.popup?.remove();
    this.popup = null;
  }

  async inspect() {
    const { value, selectionStart: at } = this.area;
    const found = await this.ask.inspect(value, at).catch(() => null);
    if (!found?.found || document.activeElement !== this.area) return;
    this.help?.remove();
    this.help = h("div", { class: "help" }, terminalText(found.text ?? "", "value"));
    this.place(this.help, at);
  }

  /** Puts something below a place of the text. */
  place(box, at) {
    const range = document.createRange();
    let left = at;
    const walker = document.createTreeWalker(this.code, NodeFilter.SHOW_TEXT);
    let node = walker.nextNode();
    while (node && left > node.length) {
      left -= node.length;
      node = walker.nextNode();
    }
    const frame = this.element.getBoundingClientRect();
    let spot = frame;
    if (node) {
      range.setStart(node, left);
      range.setEnd(node, left);
      spot = range.getClientRects()[0] ?? frame;
    }
    this.element.append(box);
    const x = Math.max(0, Math.min(spot.left - frame.left, frame.width - box.offsetWidth - 4));
    box.style.left = `${x}px`;
    box.style.top = `${(node ? spot.bottom : frame.top + 28) - frame.top + 4}px`;
  }
}
