// A table of data, with its rows in the order that is asked for.

import { h } from "./dom.js";

const STEP = 100; // rows that are shown at once
const LONG = 40; // characters that may not all fit in

/** A table as an element; null when the data is none. */
export function table(data, about) {
  const columns = columnsOf(data, about);
  if (!columns.length) return null;
  const count = Math.max(...columns.map((c) => c.values.length));
  const [rows, width] = Array.isArray(about?.shape) && about.shape.length === 2 ? about.shape : [count, columns.length];
  let order = [...Array(count).keys()];
  let by = null;
  let limit = STEP;
  const body = h("tbody");
  const foot = h("p", { class: "caption" });
  const more = h("button", { class: "button small", onclick: () => { limit += 10 * STEP; draw(); } });
  const heads = columns.map((c) => h("th", { scope: "col", class: c.numeric ? "number" : "", title: c.dtype ?? null, "aria-sort": "none" },
    h("button", { onclick: () => sort(c), title: c.name.length > LONG ? c.name : null }, c.name)));
  const sort = (c) => {
    const down = by?.column === c && !by.down;
    by = by?.column === c && by.down ? null : { column: c, down };
    order = [...Array(count).keys()];
    if (by) order.sort((a, b) => compare(c.values[a], c.values[b], down) || a - b);
    heads.forEach((head, i) => head.setAttribute("aria-sort", by?.column === columns[i] ? (down ? "descending" : "ascending") : "none"));
    draw();
  };
  const draw = () => {
    body.replaceChildren(...order.slice(0, limit).map((row) => h("tr", {}, columns.map((c) => {
      const value = c.values[row];
      const missing = value === null || value === undefined;
      const text = missing ? "–" : cell(value, c);
      return h(c.index ? "th" : "td", { title: text.length > LONG ? text.slice(0, 2000) : null, class: [c.numeric ? "number" : "", missing ? "missing" : ""].join(" ").trim() || null, scope: c.index ? "row" : null },
        text);
    }))));
    more.hidden = limit >= count;
    more.textContent = `Show more of ${count.toLocaleString("en")}`;
  };
  const few = count < rows ? `, the first ${count.toLocaleString("en")} of them here` : "";
  foot.textContent = `${rows.toLocaleString("en")} ${rows === 1 ? "row" : "rows"} × ${width.toLocaleString("en")} ${width === 1 ? "column" : "columns"}${few}`;
  draw();
  return h("div", { class: "table" }, h("div", { class: "scroll", tabindex: 0 }, h("table", {}, h("thead", {}, h("tr", {}, heads)), body)), more, foot);
}

function columnsOf(data, about) {
  const columns = [];
  const add = (name, dtype, values, index) => {
    if (!Array.isArray(values)) return;
    const numbers = values.filter((v) => v !== null);
    const numeric = numbers.length > 0 && numbers.every((v) => typeof v === "number");
    columns.push({ name: String(name), dtype, values, index, numeric, digits: numeric ? digits(numbers) : 0, days: /^datetime/i.test(dtype ?? "") && numbers.every(isDay) });
  };
  for (const c of Array.isArray(about?.index) ? about.index : []) add(c.name ?? "", c.dtype, c.values, true);
  const named = Array.isArray(about?.columns) ? about.columns : Object.keys(data).map((name) => ({ name }));
  for (const c of named) add(c.name, c.dtype, Object.hasOwn(data, c.name) ? data[c.name] : undefined, false);
  return columns;
}

const isDay = (v) => typeof v === "string" && /^\d{4}-\d\d-\d\d([T ]00:00:00(\.0+)?)?$/.test(v);

/** How many digits after the point the numbers of a column need to be told apart. */
function digits(numbers) {
  const first = numbers.slice(0, 1000).filter(isPlain);
  const most = Math.max(...first.map(Math.abs));
  const enough = most >= 1000 ? 2 : most >= 1 ? 4 : 6;
  return Math.max(0, ...first.map((v) => String(Number(v.toFixed(enough))).split(".")[1]?.length ?? 0));
}

const isPlain = (v) => v === 0 || (Math.abs(v) >= 1e-6 && Math.abs(v) < 1e12);

function cell(value, c) {
  if (typeof value === "number" && isPlain(value)) return value.toFixed(c.digits); // points stand below each other
  if (/^datetime/i.test(c.dtype ?? "") && typeof value === "string") return c.days ? value.slice(0, 10) : value.replace("T", " ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function compare(a, b, down) {
  const [noA, noB] = [a === null || a === undefined, b === null || b === undefined];
  if (noA || noB) return noA - noB; // missing ones last either way
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  return down ? -order : order;
}
