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

const sandboxPath = (id) => `/sandboxes/${encodeURIComponent(id)}`;

export const sandboxes = {
  list: async () => (await ask("GET", "/v2/sandboxes?limit=100")).json(),
  /** Makes one that lives for an hour, or as long as the daemon gives who asks for nothing when that is too long. */
  create: async () => {
    const make = (spec) => ask("POST", "/sandboxes", JSON.stringify({ templateID: "base", ...spec }), "application/json");
    const response = await make({ timeout: 3600 }).catch((e) => e.status === 400 ? make({}) : Promise.reject(e));
    return response.json();
  },
  /** How many milliseconds it lasts in all and has left, by the daemon's clock. */
  lifetime: async (id) => {
    const response = await ask("GET", sandboxPath(id));
    const { state, startedAt, endAt } = await response.json();
    return { state, lasts: Date.parse(endAt) - Date.parse(startedAt), left: Date.parse(endAt) - Date.parse(response.headers.get("Date")) };
  },
  kill: (id) => ask("DELETE", sandboxPath(id)),
  extend: (id, seconds) => ask("POST", `${sandboxPath(id)}/timeout`, JSON.stringify({ timeout: seconds }), "application/json"),
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
