// The daemon's HTTP interface, as far as the page uses it: the control plane's list, create and kill, and the bridge's files.

const KEY = "ds-sandbox-key";

/** The key of this tab. It is kept for the tab alone, and never in an address. */
export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** Takes the key from the address that the daemon printed, and cleans the address. */
export function takeKeyFromAddress() {
  const query = new URLSearchParams(location.search);
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = query.get("token") ?? fragment.get("token");
  if (!token) return;
  key.set(token);
  history.replaceState(null, "", location.pathname + (fragment.has("token") ? "" : location.hash));
}

/** A refusal of the daemon, in its words. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(method, path, body, type) {
  const headers = { "X-API-Key": key.get() ?? "" };
  if (type) headers["Content-Type"] = type;
  let response;
  try {
    response = await fetch(path, { method, headers, body });
  } catch {
    throw new Refused(0, "The daemon does not answer.");
  }
  if (response.ok) return response;
  const text = await response.text();
  let message = text.slice(0, 500) || `${response.status} ${response.statusText}`;
  try {
    const told = JSON.parse(text);
    message = told.message ?? told.error?.message ?? message;
  } catch { /* then it is what it is */ }
  throw new Refused(response.status, message);
}

const spans = [3600, 1800, 900, 300, 60]; // seconds

/** Asks for the longest of the spans that the daemon allows. */
async function forLong(f) {
  for (const seconds of spans) {
    try {
      return await f(seconds);
    } catch (e) {
      if (e.status !== 400 || seconds === spans.at(-1)) throw e;
    }
  }
}

const sandboxPath = (id) => `/sandboxes/${encodeURIComponent(id)}`;

export const sandboxes = {
  list: async () => (await ask("GET", "/v2/sandboxes?limit=100")).json(),
  create: async () => (await forLong((timeout) => ask("POST", "/sandboxes", JSON.stringify({ templateID: "base", timeout }), "application/json"))).json(),
  /** Whether it runs or is paused, and how many milliseconds it has left by the daemon's clock. */
  lifetime: async (id) => {
    const response = await ask("GET", sandboxPath(id));
    const { state, endAt } = await response.json();
    return { state, left: Date.parse(endAt) - Date.parse(response.headers.get("Date")) };
  },
  kill: (id) => ask("DELETE", sandboxPath(id)),
  extend: (id) => forLong((timeout) => ask("POST", `${sandboxPath(id)}/timeout`, JSON.stringify({ timeout }), "application/json")),
  resume: (id) => forLong((timeout) => ask("POST", `${sandboxPath(id)}/connect`, JSON.stringify({ timeout }), "application/json")),
};

export const kernels = {
  /** What contexts can be made for, as [what to ask for, title]: languages, and further kernels of the same one. */
  languages: async () => {
    const { default: first, kernelspecs } = await (await ask("GET", "/api/kernelspecs")).json();
    const seen = new Set();
    return Object.values(kernelspecs).sort((a, b) => (b.name === first) - (a.name === first) || a.name.localeCompare(b.name, "en")).map(({ name, spec }) => {
      const value = seen.has(spec.language) ? name : spec.language;
      seen.add(spec.language);
      return [value, spec.display_name];
    });
  },
};

const filePath = (id, path) => `${sandboxPath(id)}/workspace/${path.split("/").map(encodeURIComponent).join("/")}`;

export const files = {
  list: async (id, path) => (await ask("GET", filePath(id, path))).json(),
  read: async (id, path) => (await ask("GET", filePath(id, path))).blob(),
  write: (id, path, body) => ask("PUT", filePath(id, path), body),
  remove: (id, path) => ask("DELETE", filePath(id, path)),
};
