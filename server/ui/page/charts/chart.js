// Draws a figure from its data, in E2B's form. The data was made by the sandbox: whatever is odd in it is left out.

import { h } from "../dom.js";
import { bars, boxes, points } from "./axes.js";
import { pie } from "./pie.js";

const PARTS = 24; // charts of a superchart that are drawn
const NESTED = 3;

/** A figure as an element; null when there is nothing to draw. */
export function chart(data, depth = 0) {
  if (!data || typeof data !== "object") return null;
  const elements = Array.isArray(data.elements) ? data.elements : [];
  if (!elements.length) return null;
  if (data.type === "superchart") {
    const parts = depth < NESTED ? elements.slice(0, PARTS).map((e) => chart(e, depth + 1)).filter(Boolean) : [];
    if (!parts.length) return null;
    return h("div", { class: "superchart" }, heading(data), h("div", { class: parts.length > 1 ? "parts" : "" }, parts));
  }
  const draw = { line: points, scatter: points, bar: bars, pie, box_and_whisker: boxes }[data.type];
  if (!draw) return null;
  const canvas = h("div", { class: "canvas" });
  const figure = h("figure", { class: `chart chart-${data.type}`, role: "img", "aria-label": describe(data) }, heading(data), canvas);
  let made;
  try {
    made = draw(data, elements);
  } catch {
    return null;
  }
  if (!made) return null;
  if (made.legend.length > 1) figure.append(legend(made.legend));
  const few = data.element_count > elements.length ? `the first ${elements.length} of ${data.element_count} are drawn` : "";
  if (few) figure.append(h("figcaption", { class: "caption" }, few));
  const tip = h("div", { class: "tip", hidden: true });
  let width = 0;
  new ResizeObserver(([entry]) => {
    const now = Math.round(entry.contentRect.width);
    if (!now || now === width) return;
    width = now;
    canvas.replaceChildren(made.draw(width, tips(canvas, tip)), tip);
  }).observe(canvas);
  return figure;
}

/** Whether a figure is of lines without names, as a box plot's whiskers are: then its picture says more. */
export function isNameless(data) {
  const elements = Array.isArray(data?.elements) ? data.elements : [];
  if (data?.type === "superchart") return elements.some(isNameless);
  return data?.type === "line" && elements.length > 2 && elements.every((e) => /^Line \d+$/.test(e?.label ?? ""));
}

const heading = (data) => typeof data.title === "string" && data.title ? h("h3", {}, data.title) : null;

function describe(data) {
  const names = { line: "line chart", scatter: "scatter chart", bar: "bar chart", pie: "pie chart", box_and_whisker: "box plot" };
  const axes = [data.x_label, data.y_label].filter(Boolean).join(" and ");
  return [names[data.type], data.title && `“${data.title}”`, axes && `of ${axes}`].filter(Boolean).join(" ");
}

function legend(entries) {
  return h("ul", { class: "legend" }, entries.slice(0, 30).map(({ colour, label }) => h("li", {}, h("i", { class: `s${colour}` }), label || "–")),
    entries.length > 30 && h("li", {}, `and ${entries.length - 30} more`));
}

/** Shows what is under the pointer: show(x, y, [[colour, text]...], head), hide(). */
function tips(canvas, tip) {
  return {
    show(x, y, rows, head) {
      tip.replaceChildren(...[head && h("b", {}, head), ...rows.map(([colour, text]) => h("span", {}, colour === null ? null : h("i", { class: `s${colour}` }), text))].filter(Boolean));
      tip.hidden = false;
      const right = x + tip.offsetWidth + 18 > canvas.clientWidth;
      tip.style.left = `${Math.max(0, right ? x - tip.offsetWidth - 12 : x + 12)}px`;
      tip.style.top = `${Math.max(0, y - tip.offsetHeight - 8)}px`;
    },
    hide() {
      tip.hidden = true;
    },
  };
}
