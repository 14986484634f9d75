package notebook_test

import (
	"errors"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/notebook"
)

// comparison is a notebook that nbclient and we run.
type comparison struct {
	sources []string
	tags    map[int][]string // by cell
	options []string         // of nbclient
	ours    notebook.ExecuteOptions
	raises  string // what ends it
}

const tinyPNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// raisingFormatter shows a value one of whose forms can't be made.
const raisingFormatter = "class R:\n  def _repr_html_(self):\n    raise ValueError('no form')\nR()"

// plain are cells that end as cells do.
var plain = []string{
	// Streams.
	"import sys\nprint('a'); print('b')\nsys.stdout.flush()\nprint('e', file=sys.stderr)\nsys.stderr.flush()\nprint('c', end='')",
	"for i in range(2000): print(i)", "print()", "", "  \n", "# nothing",
	// Values.
	"1 + 1", "None", "'text'", "{'a': [1, 2]}", "1;", "_", "Out.get(1)", "class H:\n  def _repr_html_(self): return '<b>\\nü</b>'\nH()",
	"class J:\n  def _repr_json_(self): return {'a': [1, None, 1.5], 'b': 'x\\ny'}\nJ()",
	"class B:\n  def _repr_mimebundle_(self, include=None, exclude=None): return {'text/plain': 'b', 'application/vnd.x+json': [1]}, {'text/plain': {'m': 1}}\nB()",
	// Unicode.
	"print('héllo \U0001f600 שלום \\u2028 x')", "'ß'", "größe = 1; größe",
	// Images.
	"from IPython.display import Image, SVG, HTML, Markdown, Latex, display, Javascript\nimport base64",
	"Image(data=base64.b64decode('" + tinyPNG + "'), width=3)", "display(SVG('<svg xmlns=\"http://www.w3.org/2000/svg\">\\n</svg>'), HTML('<p>\\n</p>'))",
	"Markdown('# a\\n*b*')", "Latex('$x$')", "display(Javascript('1'))",
	// Clear output.
	"from IPython.display import clear_output, display\nprint('gone'); clear_output(); print('kept')",
	"print('gone'); clear_output(wait=True); print('kept')", "print('stays'); clear_output(wait=True)",
	"display(1, display_id='c'); clear_output(wait=True); h = display(2, display_id='d'); h.update(3)",
	"display(1, display_id='e'); clear_output(); display('new', display_id='e')",
	// Displays across cells.
	"from IPython.display import display, update_display\nh = display('first', display_id='x')", "display('second', display_id='x')",
	"update_display('third', display_id='x')", "update_display('nobody', display_id='unknown')",
	"a = display(1, display_id=True); b = display(2, display_id=True); a.update(3); b.update(4)",
	"print('before'); display('mine', display_id='x'); print('after'); h.update('all')",
	// Magics.
	"%%capture out\nprint('hidden')", "out.stdout", "%%bash\necho from bash", "!echo shell", "%who_ls",
	// An error that is shown, not raised.
	"try:\n  1/0\nexcept Exception:\n  get_ipython().showtraceback()", "'on'",
	// Widgets.
	"try:\n  from comm import create_comm\nexcept ImportError:\n  from ipykernel.comm import Comm\n  create_comm = lambda **k: Comm(**k)\n" +
		"c = create_comm(target_name='jupyter.widget', comm_id='w1', data={'state': {'_model_name': 'IntModel', '_model_module': 'm', '_model_module_version': '1', 'value': 1}, 'buffer_paths': [['d']]}, buffers=[b'abc'])",
	"c.send({'method': 'update', 'state': {'value': 2}, 'buffer_paths': []}); c.send({'method': 'custom', 'content': {}})",
	"import IPython.display as d\no = create_comm(target_name='jupyter.widget', comm_id='o1', data={'state': {'_model_name': 'OutputModel', '_model_module': '@jupyter-widgets/output', " +
		"'_model_module_version': '1', 'msg_id': '', 'outputs': []}, 'buffer_paths': []})\ngot = []\n_ = o.on_msg(lambda m: got.append(m['content']['data']))",
	"def take(on): o.send({'method': 'update', 'state': {'msg_id': get_ipython().kernel.get_parent()['header']['msg_id'] if on else ''}, 'buffer_paths': []})\n" +
		"import sys; sys.stdout.write('cell\\n'); sys.stdout.flush(); take(True); print('gone'); d.clear_output(wait=True); print('a'); print('b'); d.display(d.HTML('<b>\\n</b>')); take(False); print('cell again')",
	"import json; print(json.dumps(got[-1], sort_keys=True))", "take(True); d.clear_output(); take(False); 'shown'", "import json; print(json.dumps(got[-1], sort_keys=True))",
	// Plots.
	"%matplotlib inline\nimport matplotlib; matplotlib.rcParams['svg.hashsalt'] = 'x'\nimport matplotlib.pyplot as plt", "_ = plt.plot([1, 2])", "plt.plot([3]); plt.show(); print('after')",
	// Tables.
	"import pandas as pd", "pd.DataFrame({'a': [1, None], 'b': ['x', 'ü']})",
}

var comparisons = map[string]comparison{
	"plain": {sources: plain},
	"errors allowed": {
		sources: []string{"1/0", "print('on')\nraise ValueError('ü')", "def f(: pass", "import sys; sys.exit(3)", raisingFormatter, "'end'"},
		options: []string{"allow_errors"}, ours: notebook.ExecuteOptions{AllowErrors: true},
	},
	"the first error ends it": {sources: []string{"1", "print('x')\n{}['no']", "'never'"}, raises: "KeyError"},
	"tags": {
		sources: []string{"x = 1; x", "x = 2; x", "1/0", "x", "raise KeyError('k')", "'never'"},
		tags:    map[int][]string{1: {"skip-execution"}, 2: {"raises-exception"}},
		raises:  "KeyError",
	},
	"coalesced": {
		sources: []string{
			"import sys\nfor i in range(3):\n  print(i); sys.stdout.flush(); print('e', i, file=sys.stderr); sys.stderr.flush()",
			"print('10%\\r100%\\nq\\r\\nabc\\rX')",
		},
		options: []string{"coalesce_streams"}, ours: notebook.ExecuteOptions{CoalesceStreams: true},
	},
	"input": {sources: []string{"input('?')"}, raises: "StdinNotImplementedError"},
}

func TestOutputsAreThoseOfNbclient(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		for name, c := range comparisons {
			t.Run(name, func(t *testing.T) {
				nb := makeNotebook(c.sources...)
				for i, tags := range c.tags {
					nb.Cells[i].Metadata["tags"] = tags
					nb.Cells[i].Outputs = []*notebook.Output{{Type: notebook.Stream, Name: "stdout", Text: "old"}}
				}
				nb.AddCell(notebook.Markdown, "# kept")
				source := write(t, nb, "in.ipynb")
				theirs := filepath.Join(t.TempDir(), "theirs.ipynb")
				theirError := oracle(t, python, append([]string{"execute", source, theirs}, c.options...)...)
				if theirError == "unsupported\n" {
					t.Skip("this nbclient has no such option")
				}
				want, err := notebook.ReadFile(theirs)
				require.NoError(t, err)

				err = notebook.Execute(testContext(t), nb, newSandbox(t, python).DefaultContext(), &c.ours)
				ourError := ""
				if cell := new(notebook.CellError); errors.As(err, &cell) {
					ourError = errorName(cell) + "\n"
				} else {
					require.NoError(t, err)
				}
				require.Equal(t, theirError, ourError)
				require.Equal(t, c.raises, strings.TrimSpace(ourError), "the comparison is to go as far as it was meant to")
				oracle(t, python, "validate", write(t, nb, "ours.ipynb"))
				require.Equal(t, encode(t, normalised(want)), encode(t, normalised(nb)))
			})
		}
	})
}

var chance = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`0x[0-9a-f]{6,}`), "0x"},
	{regexp.MustCompile(`/tmp/ipykernel_\d+/\d+\.py`), "FILE"},
	{regexp.MustCompile(`/[^ :"']*/ds_?kernel/[^ :"']*|/[^ :"']*/ipykernel/[^ :"']*`), "PATH"},
}

// normalised is a notebook without what is chance, and with the pieces of its streams joined.
func normalised(nb *notebook.Notebook) *notebook.Notebook {
	for _, c := range nb.Cells {
		if times, ok := c.Metadata["execution"].(map[string]any); ok {
			c.Metadata["execution"] = slices.Sorted(maps.Keys(times))
		}
		var outputs []*notebook.Output
		for _, o := range c.Outputs {
			if hint := regexp.MustCompile(`^\S+: UserWarning: To exit: use [^\n]*\n  warn\([^\n]*\n?$`); o.Name == "stderr" && hint.MatchString(o.Text) {
				continue // for people at a terminal: dskernel leaves it out
			}
			if n := len(outputs); n > 0 && o.Type == notebook.Stream && outputs[n-1].Type == notebook.Stream && outputs[n-1].Name == o.Name {
				outputs[n-1].Text += o.Text
				continue
			}
			outputs = append(outputs, o)
		}
		c.Outputs = outputs
		for _, o := range outputs {
			for i := range o.Traceback {
				o.Traceback[i] = unchanced(o.Traceback[i])
			}
			if text, ok := o.Data["text/plain"].(string); ok {
				o.Data["text/plain"] = unchanced(text)
			}
		}
	}
	return nb
}

func unchanced(text string) string {
	for _, c := range chance {
		text = c.pattern.ReplaceAllString(text, c.with)
	}
	return text
}

func TestNotebooksRunInParallel(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		ctx, sbx := testContext(t), newSandbox(t, python)
		errs := make(chan error, 3)
		for n := range 3 {
			go func() { errs <- runCounting(ctx, t, sbx, n) }()
		}
		for range 3 {
			require.NoError(t, <-errs)
		}
	})
}
