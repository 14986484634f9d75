"use strict";
// Gives frames their libraries, and the heights they ask for. Frames have no origin: all that is heard of them is a number.
const libraries = [...document.querySelectorAll("[data-library]")].map((e) => e.textContent);
const frames = [...document.querySelectorAll("iframe")];
addEventListener("message", (event) => {
  const frame = frames.find((f) => f.contentWindow === event.source);
  const height = Number(event.data && event.data.height);
  if (!frame || !(height > 0)) return;
  const wish = Math.min(height, 2400) + 2 + "px";
  const changes = Number(frame.dataset.changes ?? 0); // content as tall as its frame would make it grow for ever
  if (wish === frame.style.height || changes > 20) return;
  frame.dataset.changes = changes + 1;
  frame.style.height = wish;
});
for (const frame of frames) frame.contentWindow.postMessage("height", "*"); // of those that told it before anybody heard
const nonce = document.currentScript.nonce;
const fill = (frame) => {
  const script = (text) => `<script nonce="${nonce}">${text}</` + "script>";
  const html = frame.dataset.document.replace(/<!--library (\d+)-->/g, (_, n) => script(libraries[n] ?? ""));
  const at = html.indexOf("<body>");
  frame.srcdoc = html.slice(0, at) + libraries.slice(0, Number(frame.dataset.libraries)).map(script).join("") + html.slice(at);
};
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    fill(entry.target);
  }
}, { rootMargin: "600px" });
for (const frame of frames) if (frame.dataset.document) seen.observe(frame);
