import { key, sandboxes } from "./api.js";
import { confirmed, h, icon, milliseconds, toast } from "./dom.js";

const EVERY = 5000;

/** Lists the sandboxes; the result ends the view. */
export function sandboxList(app, signOut) {
  const rows = h("div", { class: "rows", role: "list" });
  const create = h("button", { class: "button primary", onclick: () => make() }, icon("plus"), "New sandbox");
  app.append(
    h("header", { class: "bar" }, h("a", { class: "brand", href: "#/" }, h("img", { src: "/ui/icon.svg", alt: "", width: 22, height: 22 }), "ds-sandbox"),
      h("span", { class: "space" }), h("button", { class: "button quiet", onclick: signOut }, "Sign out")),
    h("main", { class: "list" }, h("div", { class: "row" }, h("h1", {}, "Sandboxes"), h("span", { class: "space" }), create), rows));

  let over = false;
  let timer;
  let shown = "";
  const refresh = async () => {
    clearTimeout(timer);
    try {
      draw(await sandboxes.list());
    } catch (e) {
      if (e.status === 401) return signOut();
      if (!over) draw(null, e.message);
    }
    if (!over) timer = setTimeout(refresh, document.hidden ? 6 * EVERY : EVERY);
  };
  const draw = (list, trouble) => {
    if (over) return;
    const now = Date.now();
    const text = JSON.stringify([list, trouble]) + Math.floor(now / 30_000);
    if (text === shown) return; // focus stays where it is
    shown = text;
    if (trouble) {
      rows.replaceChildren(h("p", { class: "wrong", role: "alert" }, trouble));
    } else if (!list.length) {
      rows.replaceChildren(h("div", { class: "empty" }, h("p", {}, "No sandbox lives just now."),
        h("p", { class: "soft" }, "One starts in the time others need to open a socket.")));
    } else {
      rows.replaceChildren(...list.map((box) => row(box, now)));
    }
  };
  const row = (box, now) => h("div", { class: "card", role: "listitem" },
    h("a", { class: "cover", href: `#/s/${box.sandboxID}`, "aria-label": `Open ${box.sandboxID}` }),
    h("span", { class: `dot ${box.state}`, title: box.state }),
    h("div", { class: "what" }, h("code", {}, box.sandboxID),
      h("small", { class: "soft" }, [box.alias ?? box.templateID, ...Object.entries(box.metadata ?? {}).slice(0, 4).map(([k, v]) => `${k}: ${v}`)].join(" · "))),
    h("small", { class: "when soft" }, h("span", {}, `started ${ago(now - Date.parse(box.startedAt))}`),
      h("span", {}, box.state === "paused" ? "paused" : `ends in ${span(Date.parse(box.endAt) - now)}`)),
    h("button", { class: "button quiet", title: "Kill", "aria-label": `Kill ${box.sandboxID}`, onclick: () => kill(box.sandboxID) }, icon("trash")));
  const make = async () => {
    create.disabled = true;
    try {
      const box = await sandboxes.create();
      location.hash = `#/s/${box.sandboxID}`;
    } catch (e) {
      toast(e.message, true);
      create.disabled = false;
    }
  };
  const kill = async (id) => {
    if (!await confirmed(`Kill sandbox ${id}? Its variables and files are lost.`, "Kill")) return;
    await sandboxes.kill(id).catch((e) => e.status === 404 || toast(e.message, true));
    await refresh();
  };
  if (key.get()) refresh();
  return () => {
    over = true;
    clearTimeout(timer);
  };
}

const span = (ms) => ms > 0 ? milliseconds(ms < 60_000 ? ms : Math.round(ms / 60_000) * 60_000).replace(" 0 s", "").replace(" 0 min", "") : "a moment";
const ago = (ms) => ms < 45_000 ? "just now" : `${span(ms)} ago`;
