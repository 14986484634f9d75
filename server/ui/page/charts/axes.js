// Charts with two axes: lines, points, bars, boxes.

import { s } from "../dom.js";
import { onLeave } from "./leave.js";
import { axisKind, makeScale, showNumber } from "./scale.js";

const COLOURS = 8;
const colour = (i) => i % COLOURS;

/** The plot's frame: grid, ticks, names of the axes. draw fills it in the plot's own coordinates. */
function plot(width, { x, y, xLabel, yLabel, xTicks, yTicks, gridX = true }, draw) {
  const height = Math.round(Math.max(200, Math.min(400, width * 0.52)));
  const yMarks = yTicks ?? y.ticks(Math.max(3, Math.round(height / 62)));
  const left = 16 + Math.min(width * 0.3, Math.max(...yMarks.map((t) => measure(t.text)), 10)) + (yLabel ? 20 : 0);
  const bottom = 26 + (xLabel ? 20 : 0);
  const [w, ht] = [width - left - 14, height - bottom - 10];
  const xMarks = fitting(xTicks ?? x.ticks(Math.max(2, Math.round(w / 80))), w);
  const [px, py] = [(v) => x.at(v) * w, (v) => (1 - y.at(v)) * ht];
  const body = s("g", { transform: `translate(${left} 10)` },
    yMarks.map((t) => [
      s("line", { class: "grid", x1: 0, x2: w, y1: (1 - t.at) * ht, y2: (1 - t.at) * ht }),
      s("text", { class: "tick", x: -8, y: (1 - t.at) * ht, "text-anchor": "end", "dominant-baseline": "middle" }, clip(t.text, left - 14))]),
    xMarks.map((t) => [
      gridX && s("line", { class: "grid", x1: t.at * w, x2: t.at * w, y1: 0, y2: ht }),
      s("text", { class: "tick", x: t.at * w, y: ht + 18, "text-anchor": "middle" }, t.text)]),
    s("line", { class: "axis", x1: 0, x2: w, y1: ht, y2: ht }),
    xLabel && s("text", { class: "label", x: w / 2, y: ht + 40, "text-anchor": "middle" }, clip(xLabel, w)),
    yLabel && s("text", { class: "label", transform: `translate(${14 - left} ${ht / 2}) rotate(-90)`, "text-anchor": "middle" }, clip(yLabel, ht)));
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, width, height }, body);
  draw({ svg, body, w, ht, px, py, left, top: 10 });
  return svg;
}

const measure = (text) => [...text].reduce((n, c) => n + (/[\d.,]/.test(c) ? 6.4 : /[A-Z]/.test(c) ? 7.6 : 6), 0);

function clip(text, room) {
  const fits = Math.max(3, Math.floor(room / 6.2));
  return text.length > fits ? `${text.slice(0, fits - 1)}…` : text;
}

/** Ticks whose texts don't touch each other. */
function fitting(ticks, width) {
  if (!ticks.length) return ticks;
  const most = Math.max(...ticks.map((t) => measure(t.text)));
  const each = width / ticks.length;
  if (most + 10 <= each) return ticks;
  if (each >= 44) return ticks.map((t) => ({ ...t, text: clip(t.text, each - 8) }));
  const step = Math.ceil(Math.min(most + 10, 90) / each);
  return ticks.filter((_, i) => i % step === 0).map((t) => ({ ...t, text: clip(t.text, each * step - 8) }));
}

/** The ticks that the figure itself has, if their texts say more than the values do. */
function ownTicks(scale, values, labels) {
  if (scale.kind !== "linear" || !Array.isArray(values) || !Array.isArray(labels) || values.length !== labels.length) return undefined;
  const named = labels.some((l) => l && !/^[\s\d.,+\-−–%$€eE×^{}\\a-z]*$/.test(l));
  if (!named) return undefined;
  const ticks = values.map((v, i) => ({ at: scale.at(v), text: String(labels[i]) })).filter((t) => t.at >= 0 && t.at <= 1 && t.text);
  return ticks.length ? ticks : undefined;
}

const pairs = (element) => Array.isArray(element?.points) ? element.points.filter((p) => Array.isArray(p) && p.length >= 2) : [];

/** Lines, or points. */
export function points(data, elements) {
  const series = elements.map((e, i) => ({ label: String(e?.label ?? ""), points: pairs(e), colour: colour(i) })).filter((e) => e.points.length);
  if (!series.length) return null;
  const xs = series.flatMap((e) => e.points.map((p) => p[0]));
  const ys = series.flatMap((e) => e.points.map((p) => p[1]));
  const isLine = data.type === "line";
  const x = makeScale(axisKind(data.x_scale, xs), xs, { pad: isLine ? 0.02 : 0.05 });
  const y = makeScale(axisKind(data.y_scale, ys), ys, { pad: 0.07 });
  const frame = {
    x, y, xLabel: data.x_label, yLabel: data.y_label,
    xTicks: ownTicks(x, data.x_ticks, data.x_tick_labels), yTicks: ownTicks(y, data.y_ticks, data.y_tick_labels),
  };
  return {
    legend: series,
    draw: (width, tip) => plot(width, frame, ({ svg, body, w, ht, px, py, left, top }) => {
      for (const e of series) {
        e.places = e.points.map(([a, b]) => [px(a), py(b)]);
        if (isLine && e.points.length > 1) body.append(s("path", { class: `stroke s${e.colour}`, d: path(e.places) }));
        else {
          const r = e.points.length > 2000 ? 1.6 : e.points.length > 300 ? 2.4 : 3.6;
          body.append(s("path", { class: `dots s${e.colour}`, "stroke-width": 2 * r, d: e.places.filter(whole).map(([a, b]) => `M${a.toFixed(1)} ${b.toFixed(1)}h0`).join("") }));
        }
      }
      const marks = s("g", { class: "marks" });
      body.append(marks);
      hover(svg, left, top, (mx, my) => {
        const found = isLine ? atX(series, mx) : nearest(series, mx, my);
        marks.replaceChildren();
        if (!found.length || mx < -8 || mx > w + 8) return tip.hide();
        const at = found[0].place;
        if (isLine) marks.append(s("line", { class: "cross", x1: at[0], x2: at[0], y1: 0, y2: ht }));
        for (const f of found) marks.append(s("circle", { class: `mark s${f.e.colour}`, cx: f.place[0], cy: f.place[1], r: 4.5 }));
        const many = series.length > 1;
        const rows = found.slice(0, 10).map((f) => [many ? f.e.colour : null, `${many && f.e.label ? `${f.e.label}: ` : ""}${isLine ? "" : `${x.show(f.point[0])}, `}${y.show(f.point[1])}`]);
        tip.show(left + at[0], top + at[1], rows, isLine ? x.show(found[0].point[0]) : "");
      }, () => {
        marks.replaceChildren();
        tip.hide();
      });
    }),
  };
}

const whole = ([a, b]) => Number.isFinite(a) && Number.isFinite(b);

function path(places) {
  let d = "";
  let pen = false;
  for (const p of places) {
    if (whole(p)) d += `${pen ? "L" : "M"}${p[0].toFixed(1)} ${p[1].toFixed(1)}`;
    pen = whole(p);
  }
  return d;
}

/** Of each line the point that is nearest in x, those of one x only. */
function atX(series, mx) {
  const found = [];
  for (const e of series) {
    let best = -1;
    for (let i = 0; i < e.places.length; i++) {
      if (whole(e.places[i]) && (best < 0 || Math.abs(e.places[i][0] - mx) < Math.abs(e.places[best][0] - mx))) best = i;
    }
    if (best >= 0) found.push({ e, place: e.places[best], point: e.points[best], far: Math.abs(e.places[best][0] - mx) });
  }
  found.sort((a, b) => a.far - b.far);
  return found.filter((f) => Math.abs(f.place[0] - found[0].place[0]) < 1.5).sort((a, b) => a.place[1] - b.place[1]);
}

function nearest(series, mx, my) {
  let best;
  for (const e of series) {
    e.places.forEach((place, i) => {
      const far = Math.hypot(place[0] - mx, place[1] - my);
      if (far < (best?.far ?? 24)) best = { e, place, point: e.points[i], far };
    });
  }
  return best ? [best] : [];
}

/** Tells where the pointer is in the plot. */
function hover(svg, left, top, move, leave) {
  const tell = (e) => {
    const box = svg.getBoundingClientRect();
    move(e.clientX - box.left - left, e.clientY - box.top - top);
  };
  svg.addEventListener("pointermove", tell);
  svg.addEventListener("pointerdown", tell);
  onLeave(svg, leave);
}

/** Bars, those of one label beside each other. */
export function bars(data, elements) {
  const list = elements.filter((e) => e && typeof e.value === "number").map((e) => ({ label: String(e.label ?? ""), group: String(e.group ?? ""), value: e.value }));
  if (!list.length) return null;
  const labels = [...new Set(list.map((b) => b.label))];
  const groups = [...new Set(list.map((b) => b.group))];
  const x = makeScale("categorical", labels);
  const y = makeScale("linear", list.map((b) => b.value), { zero: true, pad: 0.06 });
  const yLabel = data.y_label;
  return {
    legend: groups.map((label, i) => ({ label, colour: colour(i) })),
    draw: (width, tip) => plot(width, { x, y, xLabel: data.x_label, yLabel, gridX: false }, ({ svg, body, w, py, px, left, top, ht }) => {
      const room = w / labels.length;
      const wide = Math.min(64, (room * (room < 6 ? 1 : 0.78)) / groups.length);
      const zero = py(0);
      const drawn = list.map((b) => {
        const g = groups.indexOf(b.group);
        const at = px(b.label) + (g - (groups.length - 1) / 2) * wide;
        const end = py(b.value);
        const rect = s("rect", {
          class: `column s${colour(g)}`, x: at - wide / 2 + (wide > 4 ? 0.75 : 0), width: Math.max(0.5, wide - (wide > 4 ? 1.5 : 0)),
          y: Math.min(zero, end), height: Math.max(0.5, Math.abs(end - zero)), rx: Math.min(3, wide / 4),
        });
        body.append(rect);
        return { b, at, end, rect, g };
      });
      if (zero < ht - 1) body.append(s("line", { class: "axis", x1: 0, x2: w, y1: zero, y2: zero }));
      let lit;
      hover(svg, left, top, (mx) => {
        lit?.classList.remove("lit");
        const found = drawn.reduce((best, d) => Math.abs(d.at - mx) < Math.abs((best?.at ?? Infinity) - mx) ? d : best, null);
        if (!found || Math.abs(found.at - mx) > Math.max(room, 12)) return tip.hide();
        lit = found.rect;
        lit.classList.add("lit");
        tip.show(left + found.at, top + Math.min(found.end, zero), [[groups.length > 1 ? colour(found.g) : null, `${groups.length > 1 ? `${found.b.group}: ` : ""}${showNumber(found.b.value)}`]], found.b.label);
      }, () => {
        lit?.classList.remove("lit");
        tip.hide();
      });
    }),
  };
}

/** Boxes with whiskers. */
export function boxes(data, elements) {
  const parts = ["min", "first_quartile", "median", "third_quartile", "max"];
  const list = elements.filter((e) => e && parts.every((p) => typeof e[p] === "number"));
  if (!list.length) return null;
  const names = list.map((e, i) => String(e.label ?? "") || String(i + 1));
  const keys = names.map((n, i) => names.indexOf(n) === i ? n : `${n} (${i + 1})`);
  const x = makeScale("categorical", keys);
  const outliers = (e) => (Array.isArray(e.outliers) ? e.outliers : []).filter((v) => typeof v === "number");
  const values = list.flatMap((e) => [...parts.map((p) => e[p]), ...outliers(e)]);
  const y = makeScale(axisKind(data.y_scale, values), values, { pad: 0.07 });
  return {
    legend: [],
    draw: (width, tip) => plot(width, { x, y, xLabel: data.x_label, yLabel: data.y_label, gridX: false }, ({ svg, body, w, px, py, left, top }) => {
      const wide = Math.min(70, (w / list.length) * 0.5);
      list.forEach((e, i) => {
        const at = px(keys[i]);
        const [min, q1, median, q3, max] = parts.map((p) => py(e[p]));
        const line = (x1, y1, x2, y2, c = "whisker") => s("line", { class: `${c} s0`, x1, y1, x2, y2 });
        body.append(line(at, max, at, q3), line(at, q1, at, min), line(at - wide / 4, max, at + wide / 4, max), line(at - wide / 4, min, at + wide / 4, min),
          s("rect", { class: "box s0", x: at - wide / 2, width: wide, y: q3, height: Math.max(1, q1 - q3), rx: 2 }),
          line(at - wide / 2, median, at + wide / 2, median, "median"),
          s("path", { class: "dots s0", "stroke-width": 5, d: outliers(e).slice(0, 2000).map((v) => `M${at.toFixed(1)} ${py(v).toFixed(1)}h0`).join("") }));
      });
      hover(svg, left, top, (mx) => {
        const i = Math.floor((mx / w) * list.length);
        const e = list[i];
        if (!e) return tip.hide();
        const out = outliers(e).length;
        tip.show(left + px(keys[i]) + wide / 2, top + py(e.median), [
          [null, `upper end ${showNumber(e.max)}`], [null, `upper quartile ${showNumber(e.third_quartile)}`], [null, `median ${showNumber(e.median)}`],
          [null, `lower quartile ${showNumber(e.first_quartile)}`], [null, `lower end ${showNumber(e.min)}`],
          ...(out ? [[null, `${out} beyond`]] : [])], names[i]);
      }, tip.hide);
    }),
  };
}
