// The contexts of a sandbox: to go to another one, make one and remove one.

import { kernels } from "./api.js";
import { confirmed, h, icon, toast } from "./dom.js";

/** What a context is called among others. */
export function nameOf(context, contexts) {
  if (context.default) return context.language;
  const alike = contexts.filter((c) => c.language === context.language);
  return alike.length > 1 || alike[0] !== context ? `${context.language} ${alike.indexOf(context) + 1}` : context.language;
}

/** Opens the list. session has bridge, shown, showContexts(contexts), switchTo(id). */
export function contextList(session) {
  const list = h("ul", { class: "entries" });
  const language = h("select", { id: "language" });
  const create = h("button", { class: "button primary" }, icon("plus"), "New context");
  const trouble = h("p", { class: "wrong", role: "alert" });
  const dialog = h("dialog", { class: "dialog", "aria-label": "Contexts", onclose: () => dialog.remove() },
    h("div", { class: "row" }, h("h2", {}, "Contexts"), h("span", { class: "space" }),
      h("button", { class: "button quiet", "aria-label": "Close contexts", onclick: () => dialog.close() }, icon("close"))),
    h("p", { class: "soft small" }, "Each is an interpreter with its own variables. They share the files."), list, trouble,
    h("form", { class: "row choice", onsubmit: (e) => { e.preventDefault(); void make(); } },
      h("label", { for: "language", class: "soft" }, "Language"), language, create));

  const go = (id) => {
    dialog.close();
    if (id !== session.shown.id) session.switchTo(id);
  };
  const refresh = async () => {
    const contexts = await session.bridge.contexts();
    session.showContexts(contexts);
    list.replaceChildren(...contexts.map((c) => {
      const name = nameOf(c, contexts);
      return h("li", {}, h("button", { class: "entry", "aria-current": c.id === session.shown.id ? "true" : null, onclick: () => go(c.id) },
        h("span", {}, name), c.dir && h("small", { class: "soft" }, c.dir)),
        h("small", { class: "soft" }, c.state),
        contexts.length > 1 && h("button", { class: "button quiet", title: "Remove", "aria-label": `Remove ${name}`, onclick: () => remove(c, name, contexts) }, icon("trash")));
    }));
  };
  const remove = async (context, name, contexts) => {
    if (!await confirmed(`Remove context ${name}? Its variables are lost; files stay.`, "Remove")) return;
    if (context.id === session.shown.id) session.switchTo(contexts.find((c) => c !== context).id);
    await attempt(() => session.bridge.removeContext(context.id));
    await attempt(refresh);
  };
  const make = async () => {
    create.disabled = true;
    await attempt(async () => go((await session.bridge.createContext({ language: language.value })).id));
    create.disabled = false;
  };
  const attempt = async (f) => {
    trouble.textContent = "";
    try {
      await f();
    } catch (e) {
      if (dialog.isConnected) trouble.textContent = e.message;
      else toast(e.message, true);
    }
  };
  const languages = async () => {
    const found = await kernels.languages().catch(() => []); // Python is always there
    language.replaceChildren(...(found.length ? found : [["python", "Python"]]).map(([value, title]) => h("option", { value }, title)));
  };

  document.body.append(dialog);
  dialog.showModal();
  void languages();
  void attempt(refresh);
}
