// Shows HTML that a sandbox made, in a frame without an origin. All that is heard of it is a number: how tall it wants to be.

import { h } from "./dom.js";

const TALLEST = 2400;
const CHANGES = 40; // of a frame's height: content as tall as its frame would make it grow for ever
const frames = new Map(); // window to what is known of its frame

addEventListener("message", (event) => {
  const known = frames.get(event.source);
  if (!known) return;
  if (event.data?.ready === true && known.sent < 3) {
    known.sent++;
    event.source.postMessage({ html: known.html }, "*"); // it has no origin to name
    return;
  }
  const height = Number(event.data?.height);
  if (!(height > 0) || known.changes > CHANGES) return;
  const wish = `${Math.min(height, TALLEST) + 2}px`;
  if (wish === known.frame.style.height) return;
  known.changes++;
  known.frame.style.height = wish;
});

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    entry.target.dispatchEvent(new Event("wanted"));
  }
}, { rootMargin: "600px" });

/** A frame that shows HTML once it comes into sight. html may be a function that gives a promise of it. */
export function frame(html, title = "output") {
  const element = h("iframe", { sandbox: "allow-scripts", title, loading: "eager", referrerpolicy: "no-referrer" });
  element.addEventListener("wanted", async () => {
    let text;
    try {
      text = typeof html === "function" ? await html() : html;
    } catch (e) {
      element.replaceWith(h("p", { class: "note" }, `This output can't be shown: ${e.message}`));
      return;
    }
    if (!element.isConnected) return;
    for (const [win, known] of frames) if (!known.frame.isConnected) frames.delete(win);
    frames.set(element.contentWindow, { frame: element, html: text, sent: 0, changes: 0 });
    element.src = "/ui/frame.html";
  });
  seen.observe(element);
  return element;
}

// Scripts that are somewhere else, where a frame can't reach.
const remote = /<script\b[^<>]*\ssrc=["']?(https?:)?\/\/|https?:\/\/(cdn\.jsdelivr\.net|unpkg\.com|cdnjs\.cloudflare\.com|cdn\.bokeh\.org)\//i;

const LIBRARY = 64_000; // characters from which on a script is a library, which may name such addresses and not load them

/** Whether HTML would load scripts from the network, which it can't here. */
export function wantsNetwork(html) {
  if (!/<script/i.test(html)) return false;
  const small = html.split(/<\/script/i).map((part) => {
    const tag = part.search(/<script\b[^<>]*>/i);
    const text = tag < 0 ? part.length : part.indexOf(">", tag) + 1;
    return part.length - text > LIBRARY ? part.slice(0, text) : part;
  });
  return small.some((part) => remote.test(part));
}
