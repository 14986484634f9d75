import { s } from "../dom.js";
import { onLeave } from "./leave.js";

/** A pie. Angles are degrees; what they lack to a whole stays empty, as in the figure. */
export function pie(_data, elements) {
  const slices = elements.filter((e) => e && typeof e.angle === "number" && e.angle > 0)
    .map((e, i) => ({ label: String(e.label ?? ""), angle: Math.min(e.angle, 360), colour: i % 8 }));
  if (!slices.length) return null;
  const whole = Math.max(360, slices.reduce((n, e) => n + e.angle, 0));
  return {
    legend: slices,
    draw(width, tip) {
      const size = Math.min(width, 280);
      const r = size / 2 - 6;
      const [cx, cy] = [width / 2, size / 2];
      let at = 0;
      const svg = s("svg", { viewBox: `0 0 ${width} ${size}`, width, height: size });
      for (const slice of slices) {
        const turn = (slice.angle / whole) * 2 * Math.PI;
        const [a, b] = [at, at + turn];
        at = b;
        const point = (angle, radius) => `${(cx + radius * Math.sin(angle)).toFixed(2)} ${(cy - radius * Math.cos(angle)).toFixed(2)}`;
        const full = turn > 2 * Math.PI - 1e-6;
        const d = full
          ? `M${point(0, r)}A${r} ${r} 0 1 1 ${point(Math.PI, r)}A${r} ${r} 0 1 1 ${point(0, r)}Z`
          : `M${cx} ${cy}L${point(a, r)}A${r} ${r} 0 ${turn > Math.PI ? 1 : 0} 1 ${point(b, r)}Z`;
        const share = `${((slice.angle / whole) * 100).toFixed(1)} %`;
        const shape = s("path", { class: `slice s${slice.colour}`, d });
        const tell = (e) => {
          const box = svg.getBoundingClientRect();
          tip.show(e.clientX - box.left, e.clientY - box.top, [[slice.colour, share]], slice.label);
        };
        shape.addEventListener("pointermove", tell);
        shape.addEventListener("pointerdown", tell);
        onLeave(shape, tip.hide);
        svg.append(shape);
        if (turn > 0.35) {
          const middle = (a + b) / 2;
          svg.append(s("text", { class: "share", x: cx + r * 0.66 * Math.sin(middle), y: cy - r * 0.66 * Math.cos(middle), "text-anchor": "middle", "dominant-baseline": "middle" }, share));
        }
      }
      return svg;
    },
  };
}
