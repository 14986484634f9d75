// The workspace's files, beside the cells.

import { files } from "./api.js";
import { bytes, confirmed, h, icon, toast } from "./dom.js";
import { save } from "./outputs.js";

export class FilesPanel {
  constructor(sandbox, onclose) {
    this.sandbox = sandbox;
    this.folder = "";
    this.list = h("ul", { class: "entries" });
    this.path = h("nav", { class: "path", "aria-label": "Folder" });
    const pick = h("input", { type: "file", multiple: true, hidden: true, onchange: () => { void this.upload([...pick.files]); pick.value = ""; } });
    this.element = h("aside", { class: "files", "aria-label": "Files", hidden: true },
      h("div", { class: "row" }, h("h2", {}, "Files"), h("span", { class: "space" }), pick,
        h("button", { class: "button small", onclick: () => pick.click() }, icon("up"), "Upload"),
        h("button", { class: "button quiet", "aria-label": "Close files", onclick: onclose }, icon("close"))),
      this.path, this.list, h("p", { class: "soft hint" }, "Drop files here to upload them."));
    this.element.addEventListener("dragover", (e) => {
      e.preventDefault();
      this.element.classList.add("over");
    });
    this.element.addEventListener("dragleave", () => this.element.classList.remove("over"));
    this.element.addEventListener("drop", (e) => {
      e.preventDefault();
      this.element.classList.remove("over");
      void this.upload([...e.dataTransfer.files]);
    });
  }

  get open() {
    return !this.element.hidden;
  }

  toggle(on = this.element.hidden) {
    this.element.hidden = !on;
    if (on) void this.refresh();
  }

  async refresh() {
    if (!this.open) return;
    let listed;
    try {
      listed = await files.list(this.sandbox, this.folder);
    } catch (e) {
      if (this.folder && e.status === 404) {
        this.folder = "";
        return this.refresh();
      }
      this.list.replaceChildren(h("li", { class: "wrong" }, e.message));
      return;
    }
    const parts = this.folder ? this.folder.split("/") : [];
    this.path.replaceChildren(this.step("workspace", ""), ...parts.flatMap((name, i) => [" / ", this.step(name, parts.slice(0, i + 1).join("/"))]));
    const entries = listed.entries.sort((a, b) => (a.type !== "dir") - (b.type !== "dir") || a.name.localeCompare(b.name, "en", { numeric: true }));
    this.list.replaceChildren(...entries.map((e) => this.entry(e)), ...(entries.length ? [] : [h("li", { class: "soft" }, "empty")]));
  }

  step(name, folder) {
    return h("button", { class: "link", onclick: () => this.go(folder) }, name);
  }

  go(folder) {
    this.folder = folder;
    void this.refresh();
  }

  entry(e) {
    const open = e.type === "dir" ? () => this.go(e.path) : () => this.download(e);
    return h("li", {}, h("button", { class: "entry", onclick: open, title: e.type === "dir" ? "Open" : "Download" }, icon(e.type === "dir" ? "files" : "file"), h("span", {}, e.name)),
      h("small", { class: "soft" }, e.type === "file" ? bytes(e.size) : ""),
      h("button", { class: "button quiet", "aria-label": `Delete ${e.name}`, onclick: () => this.remove(e) }, icon("trash")));
  }

  async download(e) {
    try {
      save(await files.read(this.sandbox, e.path), e.name);
    } catch (error) {
      toast(error.message, true);
    }
  }

  async upload(list) {
    for (const file of list) {
      try {
        await files.write(this.sandbox, (this.folder ? `${this.folder}/` : "") + file.name, file);
        toast(`${file.name} is in the workspace.`);
      } catch (e) {
        toast(`${file.name}: ${e.message}`, true);
      }
    }
    await this.refresh();
  }

  async remove(e) {
    if (!await confirmed(`Delete ${e.path}${e.type === "dir" ? " and all that is in it" : ""}?`, "Delete")) return;
    await files.remove(this.sandbox, e.path).catch((error) => toast(error.message, true));
    await this.refresh();
  }
}
