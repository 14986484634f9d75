// What a run shows, one after the other, as a notebook has it.

import { Terminal, terminalText } from "./ansi.js";
import { chart, isNameless } from "./charts/chart.js";
import { h } from "./dom.js";
import { frame, wantsNetwork } from "./frame.js";
import { markdown } from "./markdown.js";
import { table } from "./table.js";

const MOST = 500; // outputs of one run
const LARGE = 20_000_000; // characters of one form

/** The outputs of a cell. help gives the HTML that loads a library. */
export class Outputs {
  constructor(library) {
    this.library = library;
    this.element = h("div", { class: "outputs", "aria-live": "off" });
    this.displays = new Map(); // display id to the elements that show it
    this.clearNext = false;
    this.stream = null;
  }

  clear(wait = false) {
    this.clearNext = wait;
    if (wait) return;
    this.element.style.minHeight = `${this.element.offsetHeight}px`; // what is below must not jump while it fills again
    this.element.replaceChildren();
    this.stream = this.question = null;
    setTimeout(() => { this.element.style.minHeight = ""; }, 150);
  }

  write(kind, text) {
    this.begin();
    if (this.stream?.kind !== kind) {
      this.stream = new Terminal(kind);
      this.add(this.stream.element, true);
    }
    this.stream.write(text);
  }

  show(result) {
    this.begin();
    const element = view(result, this.library);
    if (!element) return;
    this.add(element);
    if (result.display_id) {
      this.update(result);
      this.displays.set(result.display_id, [...(this.displays.get(result.display_id) ?? []), element]);
    }
  }

  /** What is shown under a display id looks like this now. */
  update(result) {
    const shown = this.displays.get(result.display_id);
    if (!shown) return;
    this.displays.set(result.display_id, shown.filter((e) => e.isConnected).map((old) => {
      const element = view(result, this.library) ?? h("div");
      old.replaceWith(element);
      return element;
    }));
  }

  error(error) {
    this.begin();
    const told = terminalText(error.traceback || `${error.name}: ${error.value}`, "error");
    this.add(told);
    told.firstChild.scrollTop = told.firstChild.scrollHeight; // what went wrong stands at the end
  }

  note(text, bad = false) {
    this.add(h("div", { class: bad ? "output note bad" : "output note" }, h("p", {}, text)));
  }

  /** An input: answer is called with the text, or with undefined for no more. mine says that the code was run here. */
  ask(event, answer, mine) {
    this.begin();
    const field = h("input", { type: event.password ? "password" : "text", "aria-label": event.prompt || "input", autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
    const form = h("form", { class: "output question", onsubmit: (e) => { e.preventDefault(); answer(field.value); } },
      h("label", {}, h("span", {}, event.prompt), field), h("button", { class: "button small primary" }, "Send"),
      h("button", { class: "button small quiet", type: "button", title: "There is no more input", onclick: () => answer(undefined) }, "End"));
    this.add(form);
    this.question = { form, prompt: event.prompt };
    const { activeElement } = document;
    const moved = mine && activeElement?.matches("textarea") && !activeElement.value; // to the next cell, and nothing is written there yet
    if (activeElement === document.body || activeElement?.closest(".cell")?.contains(form) || moved) field.focus();
  }

  /** The question was answered, here or elsewhere. */
  answered(value) {
    if (!this.question) return;
    const { form, prompt } = this.question;
    this.question = null;
    form.remove();
    this.write("stdout", `${prompt}${value ?? ""}\n`);
  }

  begin() {
    if (this.clearNext) this.clear();
  }

  add(element, isStream = false) {
    if (!isStream) this.stream = null;
    if (this.element.childElementCount > MOST) return;
    if (this.element.childElementCount === MOST) element = h("div", { class: "output note" }, h("p", {}, "More outputs are left out here."));
    this.element.insertBefore(element, this.question?.form ?? null); // what was printed before may come later than the question
  }
}

/** The forms of a result that can be shown, the best first; each makes its element when it is looked at. */
function formsOf(r, library) {
  const forms = [];
  const large = (text) => typeof text !== "string" || text.length > LARGE;
  const add = (name, text, make) => {
    if (text !== undefined && text !== null && text !== "") forms.push([name, () => large(text) ? tooLarge(text) : make()]);
  };
  const picture = pictureOf(r);
  const drawn = r.chart && chart(r.chart);
  if (drawn) forms.push(["Chart", () => drawn]);
  const rows = r.data && !r.chart && table(r.data, r.metadata?.["e2b/data"]);
  if (rows) forms.push(["Table", () => rows]);
  const active = typeof r.html === "string" && /<script/i.test(r.html);
  const html = () => {
    const body = r.library ? async () => `${await library(r.library)}\n${r.html}` : r.html;
    return [frame(body, r.text || "output"), wantsNetwork(r.html) && h("p", { class: "note" }, "This output wants scripts from the network, which are not loaded here.")];
  };
  if (active && !wantsNetwork(r.html)) add("Interactive", r.html, html);
  if (picture) add("Picture", picture.data, () => image(picture, r));
  if (picture && drawn && isNameless(r.chart)) forms.push(forms.shift());
  if (!active || wantsNetwork(r.html)) add("HTML", r.html, html);
  if (r.javascript) add("JavaScript", r.javascript, () => frame(`<div id="output"></div><script>const element = document.getElementById("output");\n${r.javascript.replaceAll("</script", "<\\/script")}</script>`));
  add("Markdown", r.markdown, () => markdown(r.markdown));
  add("LaTeX", r.latex, () => terminalText(r.latex, "value"));
  // Of a value of the language's own its text says more: keys and elements that JSON does not have.
  const says = r.json !== undefined && r.text && !/^<\S+ object\b/.test(r.text);
  if (says) add("Text", r.text, () => terminalText(r.text, "value"));
  if (r.json !== undefined) add("JSON", JSON.stringify(r.json, null, 2), () => terminalText(JSON.stringify(r.json, null, 2), "value"));
  if (r.pdf) forms.push(["PDF", () => h("p", {}, download(r.pdf, "application/pdf", "output.pdf"))]);
  if (!says) add("Text", r.text, () => terminalText(r.text, r.is_page ? "value page" : "value"));
  return forms;
}

const tooLarge = (text) => h("p", { class: "note" }, `This is too large to be shown here: ${Math.round(text.length / 1e6)} MB.`);

/** A result as an element, with a choice of its forms; null when it has none that is known. */
function view(r, library) {
  const forms = formsOf(r, library);
  if (!forms.length) {
    const names = Object.keys(r.extra ?? {});
    return names.length ? h("div", { class: "output note" }, h("p", {}, `An output of ${names.join(", ")}, which can't be shown here.`)) : null;
  }
  const body = h("div", { class: "form" });
  // Text alone says less than what is drawn; it is offered where there is nothing else.
  const offered = forms.filter(([name], i) => name !== "Text" || i === 0);
  const buttons = offered.map(([name], i) => h("button", { class: "tab", "aria-pressed": "false", onclick: () => choose(i) }, name));
  const choose = (i) => {
    buttons.forEach((b, j) => b.setAttribute("aria-pressed", String(i === j)));
    const made = offered[i][1]();
    body.replaceChildren(...[made].flat().filter(Boolean));
  };
  choose(0);
  return h("div", { class: "output result" }, buttons.length > 1 && h("div", { class: "tabs", role: "group", "aria-label": "Forms of this output" }, buttons), body);
}

function pictureOf(r) {
  if (r.svg) return { kind: "image/svg+xml", data: r.svg, text: true };
  for (const [kind, data] of [["image/png", r.png], ["image/jpeg", r.jpeg], ["image/gif", r.extra?.["image/gif"]], ["image/webp", r.extra?.["image/webp"]]]) {
    if (typeof data === "string" && /^[A-Za-z0-9+/=\s]+$/.test(data.slice(0, 1000))) return { kind, data };
  }
  return null;
}

/** An image, in which no script runs. */
function image({ kind, data, text }, r) {
  const url = `data:${kind}${text ? `;charset=utf-8,${encodeURIComponent(data)}` : `;base64,${data}`}`;
  const about = r.metadata?.[kind] ?? r.metadata ?? {};
  const size = (v) => Number.isFinite(v) && v >= 1 && v <= 20_000 ? Math.round(v) : null;
  return h("figure", { class: "picture" }, h("img", { src: url, alt: r.text ?? "figure", width: size(about.width), height: size(about.height) }));
}

function download(base64, kind, name) {
  return h("button", { class: "button small", onclick: () => {
    const data = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    save(new Blob([data], { type: kind }), name);
  } }, `Save ${name}`);
}

/** Has the browser save something as a file. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
