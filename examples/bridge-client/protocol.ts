// What goes over the websocket GET /sandboxes/{id}/events, as types: subprotocol "ds-sandbox.events.v1".
// server/bridge says what it means; its tests check every message against this file.

/** What the server tells. Numbered events are in the journal and come again to who asks for them. */
export type BridgeEvent =
  | HelloEvent | LiveEvent | GoneEvent
  | StartedEvent | CountEvent | TextEvent | ResultEvent | PagesEvent | ClearEvent | InputEvent | AnsweredEvent
  | ErrorEvent | CutEvent | DoneEvent | RestartedEvent | DroppedEvent;

/** The first event of a connection. */
export interface HelloEvent {
  type: "hello";
  protocol: string;
  sandbox: string;
  /** Names the journal that numbers belong to. */
  journal: string;
  /** The context that is shown. */
  context: ContextInfo;
  contexts: ContextInfo[];
}

/** All that was kept has been sent: what follows happens now. */
export interface LiveEvent { type: "live" }

/** The last event: the context was removed, or its sandbox killed. */
export interface GoneEvent { type: "gone"; reason: "removed" | "killed" }

interface Numbered {
  /** In the context's journal, from 1. Numbers rise; some are left out. */
  number: number;
  /** When it happened, in ISO form. */
  time: string;
}

interface OfRun extends Numbered {
  /** The context's runs are counted from 1. */
  run: number;
}

/** Code was sent to the kernel. */
export interface StartedEvent extends OfRun {
  type: "started";
  code: string;
  /** As the request had it. */
  cell?: string;
  silent?: true;
}

/** The kernel took the code. */
export interface CountEvent extends OfRun { type: "count"; execution_count?: number }

/** The code printed something. */
export interface TextEvent extends OfRun { type: "stdout" | "stderr"; text: string }

/** The code showed something ("result"), or what is shown under a display_id is to look like this now ("update"). */
export interface ResultEvent extends OfRun { type: "result" | "update"; result: Result }

/** Pages of help. */
export interface PagesEvent extends OfRun { type: "pages"; pages: Result[] }

/** What the run showed so far goes away, with wait only when its next output comes. */
export interface ClearEvent extends OfRun { type: "clear"; wait?: true }

/** The code waits for a line, until "answered" or "done". What was printed before may come after this. */
export interface InputEvent extends OfRun { type: "input"; prompt: string; password?: true }

/** The code was given the line; "" of a password. */
export interface AnsweredEvent extends OfRun { type: "answered"; value: string }

/** The code raised. */
export interface ErrorEvent extends OfRun { type: "error"; error: ExecutionError }

/** A message was too large to be kept. */
export interface CutEvent extends OfRun { type: "cut"; bytes: number }

/** The run is over. Threads that it began may still show something: events of the run may follow. */
export interface DoneEvent extends OfRun {
  type: "done";
  /** Missing when the code did not run. */
  execution_count?: number;
  /** What the code raised, without its traceback. */
  error?: ExecutionError;
  /** What kept the code from running to its end: a time-out, a death of the kernel. */
  failure?: Problem;
  usage: Usage;
}

/** The interpreter was replaced: its variables are lost, or with undone what they were before. */
export interface RestartedEvent extends Numbered { type: "restarted"; run?: number; undone?: true }

/** So many entries of the journal are no longer there, up to this number. */
export interface DroppedEvent extends Numbered { type: "dropped"; entries: number }

export interface ContextInfo {
  id: string;
  language: string;
  /** Name of the kernelspec. */
  kernel: string;
  dir?: string;
  state: "starting" | "idle" | "busy" | "stuck" | "dead";
  default?: true;
}

export interface ExecutionError {
  name: string;
  value: string;
  /** Lines, with ANSI colours. */
  traceback?: string;
}

export interface Problem {
  /** A word for programs: "not_found", "conflict", "invalid_argument", "kernel_died" ... */
  code: string;
  /** What is wrong and what to do, for people. */
  message: string;
}

export interface Usage {
  wall_ms: number;
  cpu_ms: number;
  /** Bytes. */
  peak_memory?: number;
  /** Of the workspace, those that the run touched. */
  files?: { path: string; op: "created" | "changed" | "removed"; size: number }[];
  /** files may miss some. */
  files_partial?: true;
}

/** One thing in several forms. What is HTML, SVG or JavaScript was made by the sandbox: show it in a sandboxed frame only. */
export interface Result {
  text?: string;
  html?: string;
  markdown?: string;
  svg?: string;
  /** base64, as are jpeg and pdf. */
  png?: string;
  jpeg?: string;
  pdf?: string;
  latex?: string;
  javascript?: string;
  json?: Json;
  /** A table: its columns' values. metadata["e2b/data"] has their order, types and the true number of rows. */
  data?: Record<string, Json[]>;
  /** A figure, as data. */
  chart?: Chart;
  /** All other forms, by MIME type. */
  extra?: Record<string, Json>;
  metadata?: Record<string, Json>;
  /** The value of the last expression. */
  is_main_result: boolean;
  is_page?: true;
  is_update?: true;
  display_id?: string;
  /** JavaScript that html relies on and does not have: see Bridge.library. */
  library?: string;
}

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** A figure as data, in E2B's form. */
export type Chart = LineChart | BarChart | PieChart | BoxChart | SuperChart | UnknownChart;

/** A number, a text (a category, or a date in ISO form), or a gap. */
export type Value = number | string | null;

interface Labels {
  x_label: string | null;
  y_label: string | null;
  x_unit: string | null;
  y_unit: string | null;
}

interface Axes extends Labels {
  x_ticks: Value[];
  x_tick_labels: string[];
  /** "linear", "datetime", "categorical", "log", "symlog", "logit", "function", "functionlog" or "asinh". */
  x_scale: string;
  y_ticks: Value[];
  y_tick_labels: string[];
  y_scale: string;
}

interface Figure {
  title: string | null;
  /** The true number of elements where some were left out. */
  element_count?: number;
}

export interface LineChart extends Figure, Axes {
  type: "line" | "scatter";
  elements: { label: string; points: [Value, Value][]; point_count?: number }[];
}

export interface BarChart extends Figure, Labels {
  type: "bar";
  elements: { label: string; group: string; value: Value }[];
}

export interface PieChart extends Figure {
  type: "pie";
  elements: { label: string; angle: Value; radius: Value }[];
}

export interface BoxChart extends Figure, Axes {
  type: "box_and_whisker";
  elements: {
    label: string; min: Value; first_quartile: Value; median: Value; third_quartile: Value; max: Value; outliers: Value[];
  }[];
}

export interface SuperChart extends Figure { type: "superchart"; elements: Chart[] }

export interface UnknownChart extends Figure { type: "unknown"; elements?: [] }

/** What a client asks for. Each request is answered once, with its id. context is that of the connection when it is missing. */
export type Request = { id?: string; context?: string } & (
  | ({ type: "run"; code: string } & RunOptions)
  /** Stops what runs, as Ctrl-C does; with waiting, runs that have not begun are dropped too. */
  | { type: "interrupt"; waiting?: boolean }
  /** Answers the run that asks; end says that there is no more. */
  | { type: "input"; run?: number; value?: string; end?: boolean }
  /** cursor counts unicode code points, as in answers. */
  | { type: "complete"; code: string; cursor: number }
  | { type: "inspect"; code: string; cursor: number; detail?: 0 | 1 }
  | { type: "restart" }
  | { type: "contexts" }
  | { type: "create_context"; language?: string; dir?: string }
  | { type: "remove_context" }
  | { type: "ping" }
);

export interface RunOptions {
  /** For the client's own use: the started event repeats it. At most 128 bytes. */
  cell?: string;
  /** From the kernel's start of the run; 0 is the daemon's default. */
  timeout_ms?: number;
  /** For this run only. */
  env?: Record<string, string>;
  /** sys.argv. */
  args?: string[];
  /** Not in the history, no execution count, no value. */
  silent?: boolean;
}

export interface Answer {
  type: "answer";
  id: string;
  value?: RunAnswer | InterruptAnswer | CompleteAnswer | InspectAnswer | ContextInfo | { contexts: ContextInfo[] };
  error?: Problem;
}

/** The run has begun. */
export interface RunAnswer { context: string; run: number }

/** So many runs waited and will not be run. */
export interface InterruptAnswer { dropped: number }

export interface CompleteAnswer {
  matches: { text: string; kind?: string; signature?: string }[];
  /** What a match replaces, in unicode code points. */
  start: number;
  end: number;
}

export interface InspectAnswer { found: boolean; text?: string; html?: string }
