// Text of a terminal: colours and styles, and lines that begin anew, as progress bars do. It comes in pieces, which may end anywhere.

import { h, soon } from "./dom.js";

const KEPT = 400_000; // characters of one output; the oldest go
const plain = { fg: "", bg: "", bold: false, dim: false, italic: false, underline: false, strike: false, inverse: false };

/** An output of text. */
export class Terminal {
  constructor(kind) {
    this.kind = kind;
    this.pre = h("pre", { tabindex: 0 });
    this.element = h("div", { class: `output ${kind}` }, this.pre);
    this.waiting = "";
    this.style = { ...plain };
    this.line = []; // of [style, text]: the last one, which may change
    this.lineNode = h("span");
    this.pre.append(this.lineNode);
    this.sizes = []; // of the pre's children but the last line
    this.size = 0;
    this.returned = false; // a carriage return came, and nothing after it
    this.flush = soon(() => this.draw());
  }

  write(text) {
    this.waiting += text;
    if (this.waiting.length > 4 * KEPT) { // nobody looks: only its end will be shown
      this.cut();
      this.waiting = this.waiting.slice(-KEPT);
    }
    this.flush();
  }

  draw() {
    const follow = this.pre.scrollHeight - this.pre.scrollTop - this.pre.clientHeight < 24;
    let text = this.waiting;
    const broken = /\x1b(?:\[[\x20-\x3f]*|\][^\x07\x1b]*)?$/.exec(text); // an escape sequence that has not all come
    this.waiting = broken && broken[0].length < 256 ? broken[0] : "";
    if (this.waiting) text = text.slice(0, -this.waiting.length);
    const done = document.createDocumentFragment();
    let size = 0;
    for (const m of text.matchAll(/\x1b\[([\x20-\x3f]*)([\x40-\x7e])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[^[\]]?|\n|\r|[^\x1b\n\r]+/g)) {
      const piece = m[0];
      if (m[2] === "m") this.style = apply(this.style, m[1]);
      else if (m[2] === "K" && (m[1] === "" || m[1] === "2")) this.line = m[1] ? [] : this.line;
      else if (piece === "\n") {
        for (const [style, t] of this.line) done.append(node(style, t));
        done.append("\n");
        size += this.line.reduce((n, [, t]) => n + t.length, 1);
        this.line = [];
        this.returned = false;
      } else if (piece === "\r") {
        this.returned = true;
      } else if (piece[0] !== "\x1b") {
        const visible = piece.replace(/[\x00-\x08\x0b-\x1f\x7f]/g, "");
        if (visible && this.returned) this.line = [];
        if (visible) {
          this.returned = false;
          this.line.push([this.style, visible]);
        }
      }
    }
    if (size) {
      this.pre.insertBefore(h("span", {}, done), this.lineNode);
      this.sizes.push(size);
      this.size += size;
      while (this.size > KEPT && this.sizes.length > 1) {
        this.size -= this.sizes.shift();
        this.cut();
        this.pre.querySelector(":scope > span:not(.left-out)").remove();
      }
    }
    this.lineNode.replaceChildren(...this.line.map(([style, t]) => node(style, t)));
    if (follow) this.pre.scrollTop = this.pre.scrollHeight;
  }

  cut() {
    if (!this.pre.querySelector(".left-out")) this.pre.prepend(h("span", { class: "left-out" }, "… earlier lines are left out here …\n"));
  }
}

/** Text that is all there. */
export function terminalText(text, kind) {
  const t = new Terminal(kind);
  t.waiting = text;
  t.draw();
  return t.element;
}

function node(style, text) {
  if (style === bare || isPlain(style)) return text;
  const span = document.createElement("span");
  span.textContent = text;
  const { inverse } = style;
  const fg = inverse ? style.bg : style.fg;
  const bg = inverse ? style.fg : style.bg;
  const classes = ["bold", "dim", "italic", "underline", "strike"].filter((name) => style[name]);
  if (inverse && !fg && !bg) classes.push("inverse");
  for (const [colour, short, name] of [[fg, "c", "f"], [bg, "g", "b"]]) {
    if (!colour) continue;
    if (colour[0] === "#") {
      classes.push(name);
      span.style.setProperty(`--${name}`, colour);
    } else classes.push(short + colour);
  }
  span.className = classes.join(" ");
  return span;
}

const bare = plain;
const isPlain = (style) => !style.fg && !style.bg && !style.bold && !style.dim && !style.italic && !style.underline && !style.strike && !style.inverse;

/** A style after a "select graphic rendition". */
function apply(style, parameters) {
  const s = { ...style };
  const codes = parameters.split(/[;:]/).map((n) => Number(n) || 0);
  for (let i = 0; i < codes.length; i++) {
    const n = codes[i];
    if (n === 0) Object.assign(s, plain);
    else if (n === 1) s.bold = true;
    else if (n === 2) s.dim = true;
    else if (n === 3) s.italic = true;
    else if (n === 4) s.underline = true;
    else if (n === 7) s.inverse = true;
    else if (n === 9) s.strike = true;
    else if (n === 22) s.bold = s.dim = false;
    else if (n === 23) s.italic = false;
    else if (n === 24) s.underline = false;
    else if (n === 27) s.inverse = false;
    else if (n === 29) s.strike = false;
    else if (n >= 30 && n <= 37) s.fg = String(n - 30);
    else if (n >= 90 && n <= 97) s.fg = String(n - 82);
    else if (n >= 40 && n <= 47) s.bg = String(n - 40);
    else if (n >= 100 && n <= 107) s.bg = String(n - 92);
    else if (n === 39) s.fg = "";
    else if (n === 49) s.bg = "";
    else if (n === 38 || n === 48) {
      const [colour, used] = extended(codes.slice(i + 1));
      i += used;
      s[n === 38 ? "fg" : "bg"] = colour;
    }
  }
  return s;
}

function extended([mode, ...values]) {
  const byte = (i) => Math.max(0, Math.min(255, values[i] ?? 0));
  const rgb = (...v) => `#${v.map((x) => x.toString(16).padStart(2, "0")).join("")}`;
  if (mode === 2) return [rgb(byte(0), byte(1), byte(2)), 4];
  if (mode !== 5) return ["", 1];
  const n = byte(0);
  if (n < 16) return [String(n), 2];
  if (n >= 232) return [rgb(...Array(3).fill(8 + 10 * (n - 232))), 2];
  const level = (v) => v ? 55 + 40 * v : 0;
  return [rgb(level(Math.floor((n - 16) / 36)), level(Math.floor((n - 16) / 6) % 6), level((n - 16) % 6)), 2];
}
