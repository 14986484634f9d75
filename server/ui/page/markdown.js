// Markdown as elements: headings, lists, quotes, code, tables, emphasis, links. It is made of nodes, so markup in it stays text.

import { h } from "./dom.js";

const SAFE = /^(https?:|mailto:|#)/i;

export function markdown(source) {
  return h("div", { class: "markdown" }, blocks(source.replace(/\r\n?/g, "\n").split("\n"), 0));
}

function blocks(lines, depth) {
  const out = [];
  let i = 0;
  while (i < lines.length) {
    const line = lines[i];
    let m;
    if (/^\s*$/.test(line)) i++;
    else if ((m = /^ {0,3}(`{3,}|~{3,})/.exec(line))) {
      const end = lines.findIndex((l, j) => j > i && l.trim().startsWith(m[1]));
      out.push(h("pre", {}, h("code", {}, lines.slice(i + 1, end < 0 ? undefined : end).join("\n"))));
      i = end < 0 ? lines.length : end + 1;
    } else if ((m = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/.exec(line))) {
      out.push(h(`h${m[1].length}`, {}, inline(m[2])));
      i++;
    } else if (/^ {0,3}([-*_])(\s*\1){2,}\s*$/.test(line)) {
      out.push(h("hr"));
      i++;
    } else if (/^ {0,3}>/.test(line)) {
      const inner = take((l) => /^ {0,3}>/.test(l)).map((l) => l.replace(/^ {0,3}> ?/, ""));
      out.push(h("blockquote", {}, depth < 8 ? blocks(inner, depth + 1) : inner.join("\n")));
    } else if ((m = /^( *)([-*+]|\d{1,9}[.)])\s+/.exec(line))) {
      out.push(list(m[1].length, /\d/.test(m[2])));
    } else if (line.includes("|") && /^[\s|:-]*-[\s|:-]*$/.test(lines[i + 1] ?? "") && lines[i + 1].includes("|")) {
      const rows = take((l) => l.includes("|")).map((l) => l.trim().replace(/^\||\|$/g, "").split("|").map((c) => c.trim()));
      out.push(h("table", {}, h("thead", {}, h("tr", {}, rows[0].map((c) => h("th", {}, inline(c))))),
        h("tbody", {}, rows.slice(2).map((r) => h("tr", {}, r.map((c) => h("td", {}, inline(c))))))));
    } else {
      const start = i++; // at least this one
      const rest = take((l) => l.trim() && !/^ {0,3}(#{1,6}\s|>|`{3}|~{3}|[-*+]\s|\d+[.)]\s)/.test(l));
      out.push(h("p", {}, inline([lines[start], ...rest].join("\n").trim())));
    }
  }
  return out;

  function take(wanted) {
    const start = i;
    while (i < lines.length && wanted(lines[i])) i++;
    return lines.slice(start, i);
  }

  function list(indent, ordered) {
    const items = [];
    while (i < lines.length) {
      const m = /^( *)([-*+]|\d{1,9}[.)])\s+/.exec(lines[i]);
      if (!m || m[1].length !== indent || /\d/.test(m[2]) !== ordered) break;
      const width = m[0].length;
      const inner = [lines[i++].slice(width)];
      while (i < lines.length && (/^\s*$/.test(lines[i]) ? /^ {2,}\S/.test(lines[i + 1] ?? "") : lines[i].startsWith(" ".repeat(indent + 2)))) {
        inner.push(lines[i].slice(Math.min(width, /^ */.exec(lines[i])[0].length)));
        i++;
      }
      items.push(h("li", {}, inner.length === 1 || depth >= 8 ? inline(inner.join("\n")) : blocks(inner, depth + 1)));
    }
    return h(ordered ? "ol" : "ul", {}, items);
  }
}

const spans = /(`+)([^]+?)\1(?!`)|\*\*(?=\S)([^]+?)\*\*|__(?=\S)([^]+?)__|\*(?=\S)([^*]+?)\*|\b_(?=\S)([^_]+?)_\b|~~([^]+?)~~|!?\[([^\]\n]{0,500})\]\(([^\s()]{0,2000})\)|<(https?:[^\s<>]{1,2000})>|\\([\\`*_{}[\]()#+.!|~-])| {2,}\n/g;

function inline(text, depth = 0) {
  const out = [];
  let at = 0;
  for (const m of text.matchAll(spans)) {
    if (m.index > at) out.push(text.slice(at, m.index));
    at = m.index + m[0].length;
    const inner = (t) => depth < 6 ? inline(t, depth + 1) : t;
    if (m[2] !== undefined) out.push(h("code", {}, m[2].trim()));
    else if (m[3] ?? m[4]) out.push(h("strong", {}, inner(m[3] ?? m[4])));
    else if (m[5] ?? m[6]) out.push(h("em", {}, inner(m[5] ?? m[6])));
    else if (m[7]) out.push(h("del", {}, inner(m[7])));
    else if (m[9] !== undefined || m[10]) out.push(link(m[9] ?? m[10], m[8] ?? m[10], m[0][0] === "!"));
    else if (m[11]) out.push(m[11]);
    else out.push(h("br"));
  }
  if (at < text.length) out.push(text.slice(at));
  return out;
}

function link(address, text, isImage) {
  if (isImage || !SAFE.test(address)) return text; // pictures from elsewhere are not loaded
  return h("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" }, text);
}
