package bridge_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server/bridge"
	"github.com/ds-sandbox/ds-sandbox/server/ui/uitest"
)

// everything is code that shows something of each kind.
const everything = `
import sys
from IPython.display import display, clear_output, Markdown, HTML, SVG, Latex, Javascript
print("out"); print("err", file=sys.stderr)
h = display("one", display_id=True); h.update("two"); clear_output(wait=True)
for x in Markdown("# t"), HTML("<b>b</b>"), Latex("$x$"), Javascript("1"), SVG("<svg xmlns='http://www.w3.org/2000/svg'/>"): display(x)
display({"application/json": {"a": [1, None]}, "application/x.own+json": {"b": 1}, "image/gif": "R0lGODlhAQABAAAAACw="}, raw=True)
try:
    import pandas as pd, matplotlib.pyplot as plt
    display(pd.DataFrame({"n": [1, 2], "s": ["a", None]}))
    plt.plot([1, 2], [3, 4], label="l"); plt.xlabel("t (s)"); plt.show()
    plt.scatter([1, 2], [3, 4]); plt.show(); plt.bar(["a"], [1]); plt.show(); plt.pie([1, 2]); plt.show()
    plt.boxplot([[1, 2, 3, 9]], patch_artist=True); plt.show()
    fig, axs = plt.subplots(1, 2); axs[0].plot([1]); axs[1].bar(["b"], [2]); plt.show()
    plt.imshow([[1]]); plt.show()
except ImportError: pass
open("made", "w").close()
{"a": 1}`

// The types that are published are what is sent: TypeScript itself compares them, and knows of no member that they don't name.
func TestEventsAreAsTheTypesSay(t *testing.T) {
	d := openDaemon(t, func(_ *bridge.Options, journal *int64) { *journal = 1 << 20 })
	m := d.create(t)
	c := d.dial(t, m, "")
	c.ask("run", told{"code": everything, "cell": "c"})
	c.over(1.0)
	c.run("len?")
	c.run("1 / 0")
	c.over(c.ask("run", told{"code": "while True: pass", "timeout_ms": 20})["run"])
	c.over(c.ask("run", told{"code": "pass", "silent": true})["run"])
	c.ask("run", told{"code": "import getpass\ngetpass.getpass('p')"})
	c.until("input")
	c.ask("input", told{"value": "x"})
	c.until("done")
	for _, ask := range []string{"contexts", "restart", "interrupt", "ping"} {
		c.keep(c.answerTo(c.send(ask, nil)))
	}
	c.keep(c.answerTo(c.send("complete", told{"code": "pri", "cursor": 3})))
	c.keep(c.answerTo(c.send("inspect", told{"code": "print", "cursor": 3})))
	c.keep(c.answerTo(c.send("run", told{"code": "print('x' * 2_000_000)"})))
	made := c.answerTo(c.send("create_context", nil))
	c.keep(made)
	c.keep(c.answerTo(c.send("remove_context", told{"context": made["value"].(map[string]any)["id"]})))
	c.keep(c.answerTo(c.send("dance", nil)))
	late := d.dial(t, m, "")
	late.until("dropped")
	c.seen = append(c.seen, late.seen...)
	require.NoError(t, m.Kill(t.Context()))
	c.until("gone")

	kinds := map[string]bool{}
	var b strings.Builder
	types, err := filepath.Abs("../../examples/bridge-client/protocol.ts")
	require.NoError(t, err)
	fmt.Fprintf(&b, "import type { Answer, BridgeEvent } from %q;\nexport const all: (BridgeEvent | Answer)[] = [\n", types)
	for _, e := range c.seen {
		kinds[e.kind()] = true
		if r, ok := e["result"].(map[string]any); ok {
			for form := range r {
				kinds[form] = true
			}
		}
		if e.kind() == "stdout" && len(e["text"].(string)) > 1000 {
			e["text"] = "long"
		}
		data, err := json.Marshal(e)
		require.NoError(t, err)
		b.Write(data)
		b.WriteString(",\n")
	}
	b.WriteString("];\n")
	for _, want := range strings.Fields("hello live gone started count stdout stderr result update pages clear input answered error done restarted " +
		"dropped answer text html markdown svg latex javascript json extra") {
		require.True(t, kinds[want], "nothing of kind %s was seen", want)
	}
	check := filepath.Join(t.TempDir(), "check.ts")
	require.NoError(t, os.WriteFile(check, []byte(b.String()), 0o600))
	said, err := uitest.TypeScript(t, "--noEmit", "--strict", "--allowImportingTsExtensions", "--target", "es2022", "--module", "es2022",
		"--moduleResolution", "bundler", check)
	require.NoError(t, err, said)
}

// keep puts an answer among what was seen.
func (c *client) keep(answer told) { c.seen = append(c.seen, answer) }
