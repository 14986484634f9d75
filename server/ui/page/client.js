// A client of the bridge, for browsers and for programs with a WebSocket and fetch. It needs nothing else, and no build step where
// types are stripped (Node 22.6 and later, Deno, Bun). The daemon's own page uses it as it stands.
//
//   const bridge = new Bridge({ url: "http://127.0.0.1:8000", token, sandbox: id, onEvent: (e) => console.log(e) });
//   await bridge.run("print(1 + 1)");
//
// It connects by itself, and again when the connection is lost: it then asks for what it has not seen, so that onEvent
// gets every event once and in order.
const PROTOCOL = "ds-sandbox.events.v1";
/** Why a request failed, or the connection ended. */
export class BridgeError extends Error {
    /** As the server has it; "disconnected" when the answer can't come any more. */
    code;
    constructor(problem) {
        super(problem.message);
        this.name = "BridgeError";
        this.code = problem.code;
    }
}
const PING_EVERY = 20_000;
const PONG_WITHIN = 10_000;
const SLOWEST_RETRY = 10_000;
export class Bridge {
    state = "connecting";
    /** Why it is closed; undefined while it is not, and after close. */
    error;
    /** The number of the last event, and the journal it belongs to. */
    after;
    journal;
    #options;
    #pending = new Map();
    #socket;
    #lastId = 0;
    #failures = 0;
    #heard = 0;
    #retry;
    #watch;
    /** Requests that were asked for before the connection was open. */
    #early = [];
    constructor(options) {
        this.#options = options;
        this.after = options.after ?? 0;
        this.journal = options.journal;
        this.#connect();
    }
    /** Runs code. It is fulfilled when the run begins, with its number; events tell the rest. The run goes on without this client. */
    run(code, options = {}) {
        return this.#ask({ type: "run", code, ...options });
    }
    /** Stops what runs, as Ctrl-C does; with waiting, runs that have not begun are dropped too. */
    interrupt(waiting = false) {
        return this.#ask({ type: "interrupt", waiting });
    }
    /** Gives the code the line it asks for; undefined says that there is no more. */
    input(run, value) {
        return this.#ask(value === undefined ? { type: "input", run, end: true } : { type: "input", run, value });
    }
    /** How code may go on at cursor, an index of the string. So are start and end of the answer. */
    async complete(code, cursor) {
        const answer = await this.#ask({ type: "complete", code, cursor: codePoints(code, cursor) });
        return { ...answer, start: index(code, answer.start), end: index(code, answer.end) };
    }
    /** What is known of the name at cursor, an index of the string; detail 1 gives its source too. */
    inspect(code, cursor, detail = 0) {
        return this.#ask({ type: "inspect", code, cursor: codePoints(code, cursor), detail });
    }
    /** Ends the interpreter and starts it anew; variables are lost. */
    restart() {
        return this.#ask({ type: "restart" });
    }
    async contexts() {
        const answer = await this.#ask({ type: "contexts" });
        return answer.contexts;
    }
    createContext(options = {}) {
        return this.#ask({ type: "create_context", ...options });
    }
    removeContext(id) {
        return this.#ask({ type: "remove_context", context: id });
    }
    /** The HTML that loads the JavaScript which results with this library rely on, for a sandboxed frame. */
    async library(context, name) {
        const path = `/sandboxes/${encodeURIComponent(this.#options.sandbox)}/contexts/${encodeURIComponent(context)}/libraries/${encodeURIComponent(name)}`;
        const response = await fetch(this.#options.url + path, { headers: { "X-API-Key": this.#options.token } });
        if (!response.ok)
            throw new BridgeError({ code: "not_found", message: `library ${name}: ${response.status}` });
        return response.text();
    }
    /** Connects at once instead of after the wait, and makes sure that the connection lives: for pages that were asleep. */
    poke() {
        if (this.state === "waiting")
            this.#connect();
        else if (this.state === "open")
            this.#ping();
    }
    /** Ends the connection for good; what was not answered fails. Runs go on. */
    close() {
        this.#end();
    }
    #ask(request) {
        return new Promise((resolve, reject) => {
            if (this.state === "closed" || this.state === "waiting") {
                reject(new BridgeError({ code: "disconnected", message: "there is no connection just now" }));
                return;
            }
            const id = String(++this.#lastId);
            this.#pending.set(id, { resolve: resolve, reject });
            const text = JSON.stringify({ ...request, id });
            if (this.state === "open")
                this.#socket?.send(text);
            else
                this.#early.push(text);
        });
    }
    #connect() {
        clearTimeout(this.#retry);
        this.#setState("connecting");
        const { url, token, sandbox, context } = this.#options;
        const query = new URLSearchParams();
        if (context)
            query.set("context", context);
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
            for (const text of this.#early.splice(0))
                socket.send(text);
        };
        socket.onmessage = (message) => {
            if (socket !== this.#socket)
                return;
            this.#heard = Date.now();
            this.#failures = 0;
            this.#take(JSON.parse(message.data));
        };
        socket.onclose = () => {
            if (socket === this.#socket)
                void this.#lost(opened);
        };
    }
    #take(message) {
        if (message.type === "answer") {
            const pending = this.#pending.get(message.id);
            this.#pending.delete(message.id);
            if (message.error)
                pending?.reject(new BridgeError(message.error));
            else
                pending?.resolve(message.value);
            return;
        }
        if (message.type === "hello") {
            if (this.journal !== message.journal)
                this.after = 0; // another program: everything comes from its beginning
            this.journal = message.journal;
        }
        if ("number" in message)
            this.after = message.number;
        this.#options.onEvent?.(message);
        if (message.type === "gone")
            this.#end(new BridgeError({ code: "gone", message: `the sandbox's context was ${message.reason}` }));
    }
    async #lost(opened) {
        this.#drop("the connection was lost: events will tell what became of it");
        // Browsers do not say why a websocket was refused, so it is asked for in another way.
        const refusal = opened ? undefined : await this.#refusal();
        if (this.state === "closed" || this.#socket)
            return;
        if (refusal) {
            this.#end(refusal);
            return;
        }
        const wait = Math.min(SLOWEST_RETRY, 250 * 2 ** this.#failures++) * (0.75 + Math.random() / 2);
        this.#retry = setTimeout(() => this.#connect(), wait);
        this.#setState("waiting", Date.now() + wait);
    }
    /** Why the server will not have this client, however often it asks; undefined when it may be lucky later. */
    async #refusal() {
        const { url, token, sandbox, context } = this.#options;
        const query = context ? `?context=${encodeURIComponent(context)}` : "";
        try {
            const response = await fetch(`${url}/sandboxes/${encodeURIComponent(sandbox)}/events${query}`, {
                method: "HEAD", headers: { "X-API-Key": token }, signal: AbortSignal.timeout(PONG_WITHIN),
            });
            const codes = { 401: "unauthorized", 403: "forbidden", 404: "not_found" };
            const code = codes[response.status];
            return code ? new BridgeError({ code, message: `the daemon answers ${response.status} ${code.replace("_", " ")}` }) : undefined;
        }
        catch {
            return undefined;
        }
    }
    #ping() {
        const socket = this.#socket;
        if (!socket || this.state !== "open")
            return;
        const asked = Date.now();
        socket.send(JSON.stringify({ type: "ping" }));
        setTimeout(() => {
            if (socket === this.#socket && this.#heard < asked)
                void this.#lost(true); // its own close may take minutes
        }, PONG_WITHIN);
    }
    /** Lets go of the socket; what waits for answers fails. */
    #drop(reason) {
        clearInterval(this.#watch);
        const socket = this.#socket;
        this.#socket = undefined;
        socket?.close();
        this.#early = [];
        const pending = [...this.#pending.values()];
        this.#pending.clear();
        for (const p of pending)
            p.reject(new BridgeError({ code: "disconnected", message: reason }));
    }
    #end(error) {
        if (this.state === "closed")
            return;
        clearTimeout(this.#retry);
        this.error = error;
        this.#drop("the client was closed");
        this.#setState("closed");
    }
    #setState(state, retryAt) {
        this.state = state;
        this.#options.onState?.(state, retryAt);
    }
}
/** How many code points are before an index. */
function codePoints(text, index) {
    return [...text.slice(0, index)].length;
}
/** The index after so many code points. */
function index(text, count) {
    return [...text].slice(0, count).join("").length;
}
