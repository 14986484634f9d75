// Says before a sandbox ends that it will, and that it is paused; and lets it go on.

import { sandboxes } from "./api.js";
import { h, milliseconds, toast } from "./dom.js";

const SOON = 5 * 60_000;
const EVERY = 30_000;

/** What is shown above a session whose sandbox needs somebody. */
export class Lifetime {
  constructor(sandbox) {
    this.sandbox = sandbox;
    this.over = false;
    this.text = h("span");
    this.button = h("button", { class: "link", onclick: () => this.goOn() });
    this.element = h("div", { class: "banner", role: "status", hidden: true }, this.text, " ", this.button);
    void this.look();
  }

  async look() {
    clearTimeout(this.timer);
    let known = { state: "running", left: Infinity };
    try {
      known = await sandboxes.lifetime(this.sandbox);
    } catch { /* the session tells when it is gone */ }
    if (this.over) return;
    const ends = known.left < SOON;
    this.paused = known.state === "paused";
    this.element.hidden = !(ends || this.paused);
    if (this.paused) this.say("This sandbox is paused: nothing runs until it is resumed.", "Resume");
    else if (ends) this.say(`This sandbox ends in ${span(known.left)}; its variables and files are lost then.`, "Keep it longer");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), ends ? EVERY / 3 : EVERY);
  }

  say(text, what) {
    if (this.text.textContent !== text) this.text.textContent = text; // it is read aloud once
    this.button.textContent = what;
  }

  async goOn() {
    await (this.paused ? sandboxes.resume : sandboxes.extend)(this.sandbox).catch((e) => toast(e.message, true));
    await this.look();
  }

  end() {
    this.over = true;
    this.element.hidden = true;
    clearTimeout(this.timer);
  }
}

const span = (ms) => ms < 60_000 ? "less than a minute" : milliseconds(Math.floor(ms / 60_000) * 60_000).replace(" 0 s", "");
