// A client of the bridge, for browsers and for programs with a WebSocket and fetch. It needs nothing else, and no build step where
// types are stripped (Node 22.6 and later, Deno, Bun). The daemon's own page uses it as it stands.
//
//   const bridge = new Bridge({ url: "http://127.0.0.1:8000", token, sandbox: id, onEvent: (e) => console.log(e) });
//   await bridge.run("print(1 + 1)");
//
// It connects by itself, and again when the connection is lost: it then asks for what it has not seen, so that onEvent
// gets every event once and in order.

import type {
  Answer, BridgeEvent, CompleteAnswer, ContextInfo, InspectAnswer, InterruptAnswer, Problem, Request, RunAnswer, RunOptions,
} from "./protocol.ts";

const PROTOCOL = "ds-sandbox.events.v1";

/** How the connection is: "closed" is for good, see Bridge.error. */
export type ConnectionState = "connecting" | "open" | "waiting" | "closed";

export interface BridgeOptions {
  /** The daemon's origin. */
  url: string;
  token: string;
  sandbox: string;
  /** Id of the context to show; the sandbox's default one. */
  context?: string;
  /** Called for each event, in order. */
  onEvent?: (event: BridgeEvent) => void;
  /** Called when the state changes; retryAt is when it connects again, while "waiting". */
  onState?: (state: ConnectionState, retryAt?: number) => void;
  /** Go on after this event of this journal, which an earlier client has seen. */
  after?: number;
  journal?: string;
}

/** Why a request failed, or the connection ended. */
export class BridgeError extends Error {
  /** As the server has it; "disconnected" when the answer can't come any more. */
  readonly code: string;

  constructor(problem: Problem) {
    super(problem.message);
    this.name = "BridgeError";
    this.code = problem.code;
  }
}

interface Pending {
  resolve: (value: unknown) => void;
  reject: (error: BridgeError) => void;
}

const PING_EVERY = 20_000;
const PONG_WITHIN = 10_000;
const SLOWEST_RETRY = 10_000;

type Timer = ReturnType<typeof setTimeout>;

export class Bridge {
  state: ConnectionState = "connecting";
  /** Why it is closed; undefined while it is not, and after close. */
  error?: BridgeError;
  /** The number of the last event, and the journal it belongs to. */
  after: number;
  journal?: string;

  readonly #options: BridgeOptions;
  readonly #pending = new Map<string, Pending>();
  #socket?: WebSocket;
  #lastId = 0;
  #failures = 0;
  #heard = 0;
  #retry?: Timer;
  #watch?: ReturnType<typeof setInterval>;
  /** Requests that were asked for before the connection was open. */
  #early: string[] = [];

  constructor(options: BridgeOptions) {
    this.#options = options;
    this.after = options.after ?? 0;
    this.journal = options.journal;
    this.#connect();
  }

  /** Runs code. It is fulfilled when the run begins, with its number; events tell the rest. The run goes on without this client. */
  run(code: string, options: RunOptions = {}): Promise<RunAnswer> {
    return this.#ask({ type: "run", code, ...options });
  }

  /** Stops what runs, as Ctrl-C does; with waiting, runs that have not begun are dropped too. */
  interrupt(waiting = false): Promise<InterruptAnswer> {
    return this.#ask({ type: "interrupt", waiting });
  }

  /** Gives the code the line it asks for; undefined says that there is no more. */
  input(run: number, value: string | undefined): Promise<void> {
    return this.#ask(value === undefined ? { type: "input", run, end: true } : { type: "input", run, value });
  }

  /** How code may go on at cursor, an index of the string. So are start and end of the answer. */
  async complete(code: string, cursor: number): Promise<CompleteAnswer> {
    const answer: CompleteAnswer = await this.#ask({ type: "complete", code, cursor: codePoints(code, cursor) });
    return { ...answer, start: index(code, answer.start), end: index(code, answer.end) };
  }

  /** What is known of the name at cursor, an index of the string; detail 1 gives its source too. */
  inspect(code: string, cursor: number, detail: 0 | 1 = 0): Promise<InspectAnswer> {
    return this.#ask({ type: "inspect", code, cursor: codePoints(code, cursor), detail });
  }

  /** Ends the interpreter and starts it anew; variables are lost. */
  restart(): Promise<void> {
    return this.#ask({ type: "restart" });
  }

  async contexts(): Promise<ContextInfo[]> {
    const answer: { contexts: ContextInfo[] } = await this.#ask({ type: "contexts" });
    return answer.contexts;
  }

  createContext(options: { language?: string; dir?: string } = {}): Promise<ContextInfo> {
    return this.#ask({ type: "create_context", ...options });
  }

  removeContext(id: string): Promise<void> {
    return this.#ask({ type: "remove_context", context: id });
  }

  /** The HTML that loads the JavaScript which results with this library rely on, for a sandboxed frame. */
  async library(context: string, name: string): Promise<string> {
    const path = `/sandboxes/${encodeURIComponent(this.#options.sandbox)}/contexts/${encodeURIComponent(context)}/libraries/${encodeURIComponent(name)}`;
    const response = await fetch(this.#options.url + path, { headers: { "X-API-Key": this.#options.token } });
    if (!response.ok) throw new BridgeError({ code: "not_found", message: `library ${name}: ${response.status}` });
    return response.text();
  }

  /** Connects at once instead of after the wait, and makes sure that the connection lives: for pages that were asleep. */
  poke(): void {
    if (this.state === "waiting") this.#connect();
    else if (this.state === "open") this.#ping();
  }

  /** Ends the connection for good; what was not answered fails. Runs go on. */
  close(): void {
    this.#end();
  }

  #ask<T>(request: Request): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.state === "closed" || this.state === "waiting") {
        reject(new BridgeError({ code: "disconnected", message: "there is no connection just now" }));
        return;
      }
      const id = String(++this.#lastId);
      this.#pending.set(id, { resolve: resolve as (value: unknown) => void, reject });
      const text = JSON.stringify({ ...request, id });
      if (this.state === "open") this.#socket?.send(text);
      else this.#early.push(text);
    });
  }

  #connect(): void {
    clearTimeout(this.#retry);
    this.#setState("connecting");
    const { url, token, sandbox, context } = this.#options;
    const query = new URLSearchParams();
    if (context) query.set("context", context);
    if (this.journal) {
      query.set("journal", this.journal);
      query.set("after", String(this.after));
    }
    const address = `${url.replace(/^http/, "ws")}/sandboxes/${encodeURIComponent(sandbox)}/events?${query}`;
    const socket = new WebSocket(address, [PROTOCOL, `ds-sandbox.token.${token}`]);
    this.#socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#heard = Date.now();
      this.#watch = setInterval(() => this.#ping(), PING_EVERY);
      this.#setState("open");
      for (const text of this.#early.splice(0)) socket.send(text);
    };
    socket.onmessage = (message) => {
      if (socket !== this.#socket) return;
      this.#heard = Date.now();
      this.#failures = 0;
      this.#take(JSON.parse(message.data as string));
    };
    socket.onclose = () => {
      if (socket === this.#socket) void this.#lost(opened);
    };
  }

  #take(message: BridgeEvent | Answer): void {
    if (message.type === "answer") {
      const pending = this.#pending.get(message.id);
      this.#pending.delete(message.id);
      if (message.error) pending?.reject(new BridgeError(message.error));
      else pending?.resolve(message.value);
      return;
    }
    if (message.type === "hello") {
      if (this.journal !== message.journal) this.after = 0; // another program: everything comes from its beginning
      this.journal = message.journal;
    }
    if ("number" in message) this.after = message.number;
    this.#options.onEvent?.(message);
    if (message.type === "gone") this.#end(new BridgeError({ code: "gone", message: `the sandbox's context was ${message.reason}` }));
  }

  async #lost(opened: boolean): Promise<void> {
    this.#drop("the connection was lost: events will tell what became of it");
    // Browsers do not say why a websocket was refused, so it is asked for in another way.
    const refusal = opened ? undefined : await this.#refusal();
    if (this.state === "closed" || this.#socket) return;
    if (refusal) {
      this.#end(refusal);
      return;
    }
    const wait = Math.min(SLOWEST_RETRY, 250 * 2 ** this.#failures++) * (0.75 + Math.random() / 2);
    this.#retry = setTimeout(() => this.#connect(), wait);
    this.#setState("waiting", Date.now() + wait);
  }

  /** Why the server will not have this client, however often it asks; undefined when it may be lucky later. */
  async #refusal(): Promise<BridgeError | undefined> {
    const { url, token, sandbox, context } = this.#options;
    const query = context ? `?context=${encodeURIComponent(context)}` : "";
    try {
      const response = await fetch(`${url}/sandboxes/${encodeURIComponent(sandbox)}/events${query}`, {
        method: "HEAD", headers: { "X-API-Key": token }, signal: AbortSignal.timeout(PONG_WITHIN),
      });
      const codes: Record<number, string> = { 401: "unauthorized", 403: "forbidden", 404: "not_found" };
      const code = codes[response.status];
      return code ? new BridgeError({ code, message: `the daemon answers ${response.status} ${code.replace("_", " ")}` }) : undefined;
    } catch {
      return undefined;
    }
  }

  #ping(): void {
    const socket = this.#socket;
    if (!socket || this.state !== "open") return;
    const asked = Date.now();
    socket.send(JSON.stringify({ type: "ping" }));
    setTimeout(() => {
      if (socket === this.#socket && this.#heard < asked) void this.#lost(true); // its own close may take minutes
    }, PONG_WITHIN);
  }

  /** Lets go of the socket; what waits for answers fails. */
  #drop(reason: string): void {
    clearInterval(this.#watch);
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
    this.#early = [];
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const p of pending) p.reject(new BridgeError({ code: "disconnected", message: reason }));
  }

  #end(error?: BridgeError): void {
    if (this.state === "closed") return;
    clearTimeout(this.#retry);
    this.error = error;
    this.#drop("the client was closed");
    this.#setState("closed");
  }

  #setState(state: ConnectionState, retryAt?: number): void {
    this.state = state;
    this.#options.onState?.(state, retryAt);
  }
}

/** How many code points are before an index. */
function codePoints(text: string, index: number): number {
  return [...text.slice(0, index)].length;
}

/** The index after so many code points. */
function index(text: string, count: number): number {
  return [...text].slice(0, count).join("").length;
}
