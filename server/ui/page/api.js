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
  create: async () => (await ask("POST", "/sandboxes", JSON.stringify({ templateID: "base", timeout: 3600 }), "application/json")).json(),
  kill: (id) => ask("DELETE", sandboxPath(id)),
  extend: (id, seconds) => ask("POST", `${sandboxPath(id)}/timeout`, JSON.stringify({ timeout: seconds }), "application/json"),
};

const filePath = (id, path) => `${sandboxPath(id)}/workspace/${path.split("/").map(encodeURIComponent).join("/")}`;

export const files = {
  list: async (id, path) => (await ask("GET", filePath(id, path))).json(),
  read: async (id, path) => (await ask("GET", filePath(id, path))).blob(),
  write: (id, path, body) => ask("PUT", filePath(id, path), body),
  remove: (id, path) => ask("DELETE", filePath(id, path)),
};
