// Says before a sandbox ends that it will, and lets it live longer.

import { sandboxes } from "./api.js";
import { h, milliseconds, toast } from "./dom.js";

const SOON = 5 * 60_000;
const EVERY = 30_000;
const MOST = 3600_000; // that is asked for at once

/** What is shown above a session while its sandbox is about to end. */
export class Lifetime {
  constructor(sandbox) {
    this.sandbox = sandbox;
    this.over = false;
    this.left = h("span");
    this.element = h("div", { class: "banner", role: "status", hidden: true },
      this.left, " ", h("button", { class: "link", onclick: () => this.extend() }, "Keep it longer"));
    void this.look();
  }

  async look() {
    clearTimeout(this.timer);
    let left = Infinity;
    try {
      const { state, lasts, ...box } = await sandboxes.lifetime(this.sandbox);
      if (state === "running") left = box.left;
      this.span ??= Math.min(lasts, MOST); // so long was allowed before
    } catch { /* the session tells that it is gone */ }
    if (this.over) return;
    this.element.hidden = !(left < SOON);
    const text = `This sandbox ends in ${left < 60_000 ? "less than a minute" : milliseconds(Math.floor(left / 60_000) * 60_000).replace(" 0 s", "")}; its variables and files are lost then.`;
    if (left < SOON && this.left.textContent !== text) this.left.textContent = text;
    this.timer = setTimeout(() => this.look(), left < SOON ? EVERY / 3 : EVERY);
  }

  async extend() {
    await sandboxes.extend(this.sandbox, Math.max(1, Math.round(this.span / 1000))).catch((e) => toast(e.message, true));
    await this.look();
  }

  end() {
    this.over = true;
    this.element.hidden = true;
    clearTimeout(this.timer);
  }
}
