// From values to places: linear, logarithmic, of dates, of categories; and where ticks go.

const DAY = 86_400_000;

/** What kind of values an axis has. */
export function axisKind(scale, values) {
  if (scale === "log" || scale === "categorical" || scale === "datetime") return scale;
  const first = values.find((v) => v !== null);
  if (typeof first !== "string") return "linear";
  return /^-?\d{4,}-\d\d(-\d\d|$)/.test(first) && Number.isFinite(Date.parse(first)) ? "datetime" : "categorical";
}

/** A scale over values; at(v) is between 0 and 1, or NaN for a gap. pad leaves room at both ends. */
export function makeScale(kind, values, { pad = 0.04, zero = false } = {}) {
  if (kind === "categorical") {
    const names = [...new Set(values.filter((v) => v !== null).map(String))];
    const places = new Map(names.map((n, i) => [n, i]));
    return {
      kind, at: (v) => v === null ? NaN : ((places.get(String(v)) ?? NaN) + 0.5) / names.length,
      ticks: (n) => every(names.map((name, i) => ({ at: (i + 0.5) / names.length, text: name })), n), show: String,
    };
  }
  const number = kind === "datetime" ? (v) => v === null ? NaN : typeof v === "number" ? v : parseDate(v) : (v) => typeof v === "number" ? v : NaN;
  let usable = values.map(number).filter(Number.isFinite);
  if (kind === "log") usable = usable.filter((v) => v > 0);
  if (zero) usable.push(0);
  let [low, high] = extent(usable);
  const to = kind === "log" ? Math.log10 : (v) => v;
  const back = kind === "log" ? (v) => 10 ** v : (v) => v;
  [low, high] = [to(low), to(high)];
  if (low === high) [low, high] = kind === "datetime" ? [low - DAY / 2, high + DAY / 2] : [low - (Math.abs(low) / 10 || 1), high + (Math.abs(high) / 10 || 1)];
  const room = (high - low) * pad;
  const from = zero && low === 0 ? 0 : low - room;
  const until = zero && high === 0 ? 0 : high + room;
  const at = (v) => {
    const x = to(number(v));
    return Number.isFinite(x) ? (x - from) / (until - from) : NaN;
  };
  return {
    kind, at, show: kind === "datetime" ? (v) => showDate(number(v), until - from) : showNumber,
    ticks: (n) => ticks(kind, back(from), back(until), n).map(({ value, text }) => ({ at: at(value), text })).filter((t) => t.at >= 0 && t.at <= 1),
  };
}

function extent(numbers) {
  let [low, high] = [Infinity, -Infinity];
  for (const n of numbers) {
    if (n < low) low = n;
    if (n > high) high = n;
  }
  return low <= high ? [low, high] : [1, 1];
}

/** Dates without a zone are taken as they stand, as the code meant them. */
function parseDate(text) {
  const plain = String(text).replace(" ", "T");
  const withTime = /T/.test(plain);
  const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(plain);
  return Date.parse(withTime && !zoned ? `${plain.replace(/(\.\d{3})\d+/, "$1")}Z` : plain);
}

function ticks(kind, low, high, wanted) {
  if (kind === "datetime") return dateTicks(low, high, wanted);
  if (kind === "log") {
    const [a, b] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
    if (b - a > 2) {
      const step = Math.max(1, Math.round((b - a) / wanted));
      const out = [];
      for (let e = a; e <= b; e += step) out.push({ value: 10 ** e, text: showPower(e) });
      return out;
    }
    const out = [];
    for (let e = a; e <= b; e++) for (const m of [1, 2, 5]) out.push({ value: m * 10 ** e, text: showNumber(m * 10 ** e) });
    return out;
  }
  const step = niceStep((high - low) / wanted);
  const decimals = Math.max(0, Math.min(12, -Math.floor(Math.log10(step) + 1e-9)));
  const out = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9 && out.length < 50; i++) {
    const value = i * step;
    const big = Math.max(Math.abs(low), Math.abs(high));
    out.push({ value, text: big >= 1e5 || step < 1e-5 ? showNumber(value) : clean(value.toFixed(decimals)) });
  }
  return out;
}

const clean = (text) => text.replace(/^-0(\.0*)?$/, "0").replace("-", "−");

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  const m = rough / power;
  return (m <= 1 ? 1 : m <= 2 ? 2 : m <= 2.5 ? 2.5 : m <= 5 ? 5 : 10) * power;
}

const steps = [1, 1e3, 5e3, 15e3, 3e4, 6e4, 3e5, 9e5, 18e5, 36e5, 108e5, 216e5, 432e5, DAY, 2 * DAY, 7 * DAY];

function dateTicks(low, high, wanted) {
  const out = [];
  const rough = (high - low) / wanted;
  if (rough > 10 * DAY) {
    const months = [1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200].find((m) => m * 30.4 * DAY >= rough) ?? 12_000;
    const first = new Date(low);
    for (let m = Math.floor((first.getUTCFullYear() * 12 + first.getUTCMonth()) / months) * months; out.length < 50; m += months) {
      const date = new Date(0);
      date.setUTCFullYear(Math.floor(m / 12), m % 12, 1);
      if (date.getTime() > high) break;
      out.push({ value: date.getTime(), text: months >= 12 ? String(date.getUTCFullYear()) : monthName(date) });
    }
    return out;
  }
  const step = steps.find((s) => s >= rough) ?? 7 * DAY;
  for (let t = Math.ceil(low / step) * step; t <= high && out.length < 50; t += step) out.push({ value: t, text: showDate(t, step * wanted) });
  return out;
}

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
const monthName = (d) => d.getUTCMonth() === 0 ? String(d.getUTCFullYear()) : `${MONTHS[d.getUTCMonth()]}`;

function showDate(t, range) {
  if (!Number.isFinite(t)) return "–";
  const d = new Date(t).toISOString();
  if (range < 60_000) return d.slice(11, 23);
  if (range < 2 * DAY) return d.slice(11, d.slice(17, 19) === "00" ? 16 : 19);
  const day = `${Number(d.slice(8, 10))} ${MONTHS[Number(d.slice(5, 7)) - 1]}`;
  return d.slice(11, 19) === "00:00:00" || range > 60 * DAY ? `${day}${range > 200 * DAY ? ` ${d.slice(0, 4)}` : ""}` : `${day} ${d.slice(11, 16)}`;
}

/** A number with up to 5 digits that count. */
export function showNumber(v) {
  if (typeof v !== "number") return String(v);
  const size = Math.abs(v);
  if (size !== 0 && (size >= 1e6 || size < 1e-4)) {
    const [m, e] = v.toExponential(3).split("e");
    if (size >= 1e6 && size < 1e15) {
      for (const [power, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"]]) if (size >= power) return clean(`${Number((v / power).toPrecision(4))}${unit}`);
    }
    return `${clean(String(Number(m)))}·10${superscript(Number(e))}`;
  }
  return clean(Number(v.toPrecision(5)).toLocaleString("en", { maximumFractionDigits: 8 }));
}

const showPower = (e) => e >= 0 && e <= 4 ? (10 ** e).toLocaleString("en") : e < 0 && e >= -3 ? (10 ** e).toFixed(-e) : `10${superscript(e)}`;
const superscript = (n) => String(n).replace(/[-\d]/g, (c) => c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]);

function every(list, n) {
  const step = Math.max(1, Math.ceil(list.length / n));
  return step === 1 ? list : list.filter((_, i) => i % step === 0);
}
