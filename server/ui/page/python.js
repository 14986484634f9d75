// Colours Python for reading. It knows tokens, not grammar, and never changes the text.

const keywords = new Set(("and as assert async await break class continue def del elif else except finally for from global if import in is "
  + "lambda match case nonlocal not or pass raise return try while with yield").split(" "));
const constants = new Set(["True", "False", "None", "self", "cls", "__name__"]);
const builtins = new Set(("abs all any ascii bin bool breakpoint bytearray bytes callable chr classmethod compile complex delattr dict dir divmod "
  + "enumerate eval exec filter float format frozenset getattr globals hasattr hash help hex id input int isinstance issubclass iter len list "
  + "locals map max memoryview min next object oct open ord pow print property range repr reversed round set setattr slice sorted "
  + "staticmethod str sum super tuple type vars zip display ArithmeticError AssertionError AttributeError EOFError Exception "
  + "FileNotFoundError ImportError IndexError KeyError KeyboardInterrupt NameError NotImplementedError OSError RuntimeError StopIteration "
  + "SyntaxError TypeError ValueError ZeroDivisionError").split(" "));

const token = new RegExp([
  String.raw`(?<comment>#[^\n]*)`,
  String.raw`(?<string>[rRbBuUfFtT]{0,2}(?:"""(?:[^\\]|\\[^])*?(?:"""|$)|'''(?:[^\\]|\\[^])*?(?:'''|$)|"(?:[^"\\\n]|\\[^])*(?:"|(?=\n)|$)|'(?:[^'\\\n]|\\[^])*(?:'|(?=\n)|$)))`,
  String.raw`(?<magic>^[ \t]*%%?[A-Za-z]\w*[^\n]*|^[ \t]*![^\n]*)`,
  String.raw`(?<decorator>^[ \t]*@[\w.]+)`,
  String.raw`(?<number>\b(?:0[xX][\da-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?[jJ]?))`,
  String.raw`(?<name>[\p{L}_][\p{L}\p{N}_]*)`,
].join("|"), "gmu");

/** The pieces of a source, as [class, text]; class is "" for plain. */
export function tokens(source) {
  const out = [];
  let at = 0;
  let before = ""; // the last name
  const add = (kind, text) => {
    const last = out.at(-1);
    if (last && last[0] === kind) last[1] += text;
    else out.push([kind, text]);
  };
  for (const m of source.matchAll(token)) {
    if (m.index > at) add("", source.slice(at, m.index));
    at = m.index + m[0].length;
    const g = m.groups;
    if (g.comment) add("k-comment", g.comment);
    else if (g.string) add("k-string", g.string);
    else if (g.magic) add("k-magic", g.magic);
    else if (g.decorator) add("k-decorator", g.decorator);
    else if (g.number) add("k-number", g.number);
    else add(kindOf(g.name, before, source[m.index - 1]), g.name);
    if (!g.comment) before = g.name ?? "";
  }
  if (at < source.length) add("", source.slice(at));
  return out;
}

function kindOf(name, before, left) {
  if (before === "def" || before === "class") return "k-definition";
  if (left === ".") return "";
  if (keywords.has(name)) return "k-keyword";
  if (constants.has(name)) return "k-constant";
  return builtins.has(name) ? "k-builtin" : "";
}

const LONGEST = 200_000;

/** Fills an element with a source in colours. */
export function paint(element, source, language = "python") {
  if (language !== "python" || source.length > LONGEST) {
    element.textContent = source;
    return;
  }
  element.replaceChildren(...tokens(source).map(([kind, text]) => {
    if (!kind) return text;
    const span = document.createElement("span");
    span.className = kind;
    span.textContent = text;
    return span;
  }));
}
