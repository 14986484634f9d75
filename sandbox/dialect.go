package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/kernel"
)

// dialect is how a language says what Jupyter's protocol has no message for. It is said in silent runs of their own, so that code
// stays as it was given, line for line.
type dialect struct {
	quote   func(text string) string                           // a literal
	enter   string                                             // code with one %s, a text: change the working directory
	setEnv  func(names []string, env map[string]string) string // keeps what was there
	undoEnv func(names []string) string                        // brings back what setEnv kept, and nothing if the kernel is another since
	// displaysValues says that the kernel shows the value of an expression as anything else that is displayed, as IRkernel does.
	displaysValues bool
}

// dialects by the name that kernels give their language, in lower case. Python's kernels are our own and take the variables of a
// run from its metadata.
var dialects = map[string]dialect{
	"python":     {enter: "__import__('os').chdir(%s)", quote: quoteJSON},
	"javascript": javascript,
	"typescript": javascript,
	"r":          {enter: "setwd(%s)", quote: quoteJSON, setEnv: setEnvR, undoEnv: undoEnvR, displaysValues: true},
	"bash":       {enter: "cd -- %s", quote: quoteBash, setEnv: setEnvBash, undoEnv: undoEnvBash},
}

var javascript = dialect{
	enter: "process.chdir(%s)", quote: quoteJSON, setEnv: setEnvJavaScript, undoEnv: undoEnvJavaScript,
}

func dialectOf(k *kernel.Kernel) dialect {
	return dialects[strings.ToLower(k.Info().LanguageInfo.Name)]
}

// housekeeping bounds what is done silently after a run.
const housekeeping = 5 * time.Second

// outside is the context's directory if it is no part of the workspace, else empty.
func (c *Context) outside() string {
	workspace := c.sandbox.instance.Workspace()
	if dir := path.Clean(c.dir); path.IsAbs(dir) && dir != workspace && !strings.HasPrefix(dir, strings.TrimSuffix(workspace, "/")+"/") {
		return dir
	}
	return ""
}

// startDir is where the kernel starts: the workspace, if its directory is elsewhere.
func (c *Context) startDir() string {
	if c.outside() != "" {
		return ""
	}
	return c.dir
}

// enterDir goes to a directory outside the workspace, with no more rights than the code has.
func (c *Context) enterDir(ctx context.Context, k *kernel.Kernel) error {
	dir := c.outside()
	if dir == "" {
		return nil
	}
	d := dialectOf(k)
	if d.enter == "" {
		return fmt.Errorf("working directory %q: %w outside the workspace with kernel %q", c.dir, backends.ErrUnsupported, c.kernelName)
	}
	if err := quietly(ctx, k, fmt.Sprintf(d.enter, d.quote(dir))); err != nil {
		return fmt.Errorf("working directory %q: %w", c.dir, err)
	}
	return nil
}

// setRunEnv gives a run variables of its own, unless its metadata does. It belongs to the holder of the turn.
func (c *Context) setRunEnv(ctx context.Context, env map[string]string) error {
	if len(env) == 0 || c.isPython() {
		return nil
	}
	d := dialectOf(c.current())
	if d.setEnv == nil {
		return fmt.Errorf("%w: Env for one run with kernel %q; set it when the context is created", backends.ErrUnsupported, c.kernelName)
	}
	if err := c.quietly(ctx, d.setEnv(slices.Sorted(maps.Keys(env)), env)); err != nil {
		c.undoRunEnv(env)
		return fmt.Errorf("environment of the run: %w", err)
	}
	return nil
}

// undoRunEnv makes the variables what they were before the run.
func (c *Context) undoRunEnv(env map[string]string) {
	if len(env) == 0 || c.isPython() || c.sandbox.awake() != nil {
		return
	}
	k := c.current()
	if state := k.Conn().State(); state == kernel.Dead || state == kernel.Stuck {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), housekeeping)
	defer cancel()
	if err := quietly(ctx, k, dialectOf(k).undoEnv(slices.Sorted(maps.Keys(env)))); err != nil {
		c.sandbox.engine.config.Logger.Warn("undo environment of run", "sandbox", c.sandbox.id, "context", c.id, "error", err)
	}
}

// quoteJSON is a text as JSON, which is a literal of Python, JavaScript and R too.
func quoteJSON(text string) string {
	data, err := json.Marshal(text)
	if err != nil { // a string always marshals
		return `""`
	}
	return string(data)
}

// quoteBash is a text on one line, whatever it holds.
func quoteBash(text string) string {
	var b strings.Builder
	b.WriteString("$'")
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

func setEnvBash(names []string, env map[string]string) string {
	var b strings.Builder
	for _, name := range names {
		// "=value" or nothing, so that empty and unset differ.
		fmt.Fprintf(&b, "__ds_sandbox_%[1]s=${%[1]s+=$%[1]s}; export %[1]s=%[2]s\n", name, quoteBash(env[name]))
	}
	return b.String()
}

func undoEnvBash(names []string) string {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, `if [ "${__ds_sandbox_%[1]s+x}" ]; then case $__ds_sandbox_%[1]s in `+
			`=*) export %[1]s="${__ds_sandbox_%[1]s#=}";; *) unset %[1]s;; esac; unset __ds_sandbox_%[1]s; fi`+"\n", name)
	}
	return b.String()
}

func setEnvJavaScript(_ []string, env map[string]string) string {
	data, err := json.Marshal(env)
	if err != nil { // strings always marshal
		return ""
	}
	return fmt.Sprintf(`(() => {
  const kept = {};
  for (const [name, value] of Object.entries(%s)) { kept[name] = process.env[name]; process.env[name] = value; }
  globalThis[Symbol.for("ds_sandbox.env")] = kept;
})()`, data)
}

func undoEnvJavaScript([]string) string {
	return `(() => {
  const kept = globalThis[Symbol.for("ds_sandbox.env")] ?? {};
  delete globalThis[Symbol.for("ds_sandbox.env")];
  for (const [name, value] of Object.entries(kept)) { if (value === undefined) delete process.env[name]; else process.env[name] = value; }
})()`
}

func setEnvR(names []string, env map[string]string) string {
	quoted, set := make([]string, len(names)), make([]string, len(names))
	for i, name := range names {
		quoted[i] = quoteJSON(name)
		set[i] = "`" + name + "` = " + quoteJSON(env[name])
	}
	return fmt.Sprintf("options(ds_sandbox.env = Sys.getenv(c(%s), unset = NA, names = TRUE)); invisible(Sys.setenv(%s))",
		strings.Join(quoted, ", "), strings.Join(set, ", "))
}

func undoEnvR([]string) string {
	return `invisible(local({
  kept <- getOption("ds_sandbox.env")
  options(ds_sandbox.env = NULL)
  gone <- is.na(kept)
  if (any(gone)) Sys.unsetenv(names(kept)[gone])
  if (any(!gone)) do.call(Sys.setenv, as.list(kept[!gone]))
}))`
}
