// Makes elements without markup: what is given as text stays text, whatever it holds.

/** An element with attributes, listeners ("onclick"), properties (".value") and children; null and false are left out. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key.startsWith(".")) element[key.slice(1)] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

/** A drawing of a button: one path in a square of 16. */
export function icon(name) {
  return s("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, s("path", { d: icons[name] }));
}

const icons = {
  run: "M4.5 3v10l8-5z",
  stop: "M4 4h8v8H4z",
  restart: "M12.5 5.5A5 5 0 1 0 13 8M12.8 2.6v3.1H9.7",
  files: "M2.5 4.5v8h11v-6.5h-6l-1.5-1.5z",
  file: "M4 2.5h5l3 3v8H4zM9 2.5v3h3",
  plus: "M8 3.5v9M3.5 8h9",
  back: "M9.5 3.5L5 8l4.5 4.5",
  close: "M4 4l8 8M12 4l-8 8",
  trash: "M3 4.5h10M6.5 4V2.8h3V4M4.5 4.5l.6 8.7h5.8l.6-8.7",
  up: "M8 12.5v-8M4.5 7.5L8 4l3.5 3.5",
  out: "M6 3.5H3.5v9h9V10M8.5 3.5h4v4M12.2 3.8L7.5 8.5",
  contexts: "M8 2.5l5.5 2.8L8 8.1 2.5 5.3zM2.5 8L8 10.8 13.5 8M2.5 10.7L8 13.5l5.5-2.8",
  help: "M6 6.2a2 2 0 1 1 2.9 1.8c-.7.4-.9.7-.9 1.5M8 11.7v.6",
};

/** Runs f at most once a frame, soon. */
export function soon(f) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    const go = () => {
      waiting = false;
      f();
    };
    if (document.hidden) setTimeout(go, 50);
    else requestAnimationFrame(go);
  };
}

export function bytes(n) {
  if (n < 1000) return `${n} B`;
  for (const unit of ["kB", "MB", "GB"]) {
    n /= 1000;
    if (n < 999.5) return `${n < 9.95 ? n.toFixed(1) : Math.round(n)} ${unit}`;
  }
  return `${(n / 1000).toFixed(1)} TB`;
}

export function milliseconds(ms) {
  if (ms < 1) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 9950 ? 1 : 0)} s`;
  const minutes = Math.floor(ms / 60_000);
  return minutes < 60 ? `${minutes} min ${Math.round((ms % 60_000) / 1000)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A word to a person that goes away by itself. */
export function toast(text, bad = false) {
  let area = document.querySelector(".toasts");
  if (!area) document.body.append((area = h("div", { class: "toasts", role: "status", "aria-live": "polite" })));
  const note = h("div", { class: bad ? "toast bad" : "toast" }, text);
  area.append(note);
  setTimeout(() => note.remove(), bad ? 8000 : 4000);
}

/** Asks yes or no, and is fulfilled with the answer. */
export const confirmed = async (question, yes) => await chosen(question, [yes]) === yes;

/** Asks what to do, and is fulfilled with the choice, or with "" for none. The last one is what Enter chooses. */
export function chosen(question, choices) {
  return new Promise((resolve) => {
    const last = (i) => i === choices.length - 1;
    const dialog = h("dialog", { class: "dialog", onclose: () => { dialog.remove(); resolve(dialog.returnValue); } },
      h("form", { method: "dialog" }, h("p", {}, question), h("div", { class: "row end choice" },
        h("button", { class: "button", value: "" }, "Cancel"),
        choices.map((c, i) => h("button", { class: last(i) ? "button primary" : "button", value: c, autofocus: last(i) }, c)))));
    document.body.append(dialog);
    dialog.showModal();
  });
}
