// What was written and not run, of a context: it stays over a reload of this tab. What was run is in the journal.

const KEPT = 2_000_000; // characters

export class Drafts {
  constructor(name) {
    this.name = `ds-sandbox-drafts:${name}`;
  }

  /** {cells: [[key, position, code]...], hidden: {key: run}} */
  load() {
    try {
      const { cells = [], hidden = {} } = JSON.parse(sessionStorage.getItem(this.name) ?? "{}");
      return { cells: cells.filter(([k, p, c]) => typeof k === "string" && Number.isFinite(p) && typeof c === "string"), hidden };
    } catch {
      return { cells: [], hidden: {} };
    }
  }

  save(cells, hidden) {
    const text = JSON.stringify({ cells, hidden });
    try {
      if (text.length < KEPT) sessionStorage.setItem(this.name, text);
    } catch { /* the tab has no room: then a reload loses what was not run */ }
  }
}
