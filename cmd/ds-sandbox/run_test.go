package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRunPrintsAndExits(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	data := file("data.csv", "a,b\n1,2\n")
	file("tree/deep/x.txt", "deep")
	t.Setenv("OF_OURS", "passed on")
	linked := filepath.Join(dir, "linked")
	require.NoError(t, os.Mkdir(linked, 0o755))
	file("linked/in", "x")
	require.NoError(t, os.Symlink("in", filepath.Join(linked, "inside")))
	require.NoError(t, os.Symlink(data, filepath.Join(linked, "out")))
	type test struct {
		args  []string
		stdin string
		code  int
		out   string
		err   string // is contained; none when empty
	}
	for name, test := range map[string]test{
		"text and a value": {args: []string{"-c", "print('hi'); 6 * 7"}, out: "hi\n42\n"},
		"no value":         {args: []string{"-c", "x = 1"}},
		"no code at all":   {args: []string{"-c", ""}},
		"a value after text without an end": {
			args: []string{"-c", "import sys; n = sys.stdout.write('x')\n'y'"}, out: "x\n'y'\n",
		},
		"both streams":       {args: []string{"-c", "import sys; print('o'); print('e', file=sys.stderr)"}, out: "o\n", err: "e\n"},
		"a script":           {args: []string{file("s.py", "\ufeffprint(__name__)")}, out: "__main__\n"},
		"standard input":     {args: []string{"-"}, stdin: "a = 20\na + 1\n", out: "21\n"},
		"an exception":       {args: []string{"-c", "print(1)\n1 / 0"}, code: exitRaised, out: "1\n", err: "ZeroDivisionError: division by zero\n"},
		"a syntax error":     {args: []string{"-c", "1 +"}, code: exitRaised, err: "SyntaxError"},
		"exit with success":  {args: []string{"-c", "import sys; print(1); sys.exit()"}, out: "1\n", err: ""},
		"exit as in a shell": {args: []string{"-c", "print(1)\nexit(4)\nprint(2)"}, out: "1\n", code: 4},
		"arguments": {
			args: []string{file("a.py", "import sys; print(sys.argv, __file__)"), "b", "--", "--c", "d"}, out: "['a.py', 'b', '--c', 'd'] a.py\n",
		},
		"arguments of standard input": {
			args: []string{"-", "b"}, stdin: "import sys; print(sys.argv, '__file__' in globals())", out: "['-', 'b'] False\n",
		},
		"a NUL in the code":   {args: []string{"-c", "a = '\x00'"}, code: exitUsage, err: "NUL byte at offset 5"},
		"no text as code":     {args: []string{"-c", "a = '\xff'"}, code: exitUsage, err: "not valid UTF-8 at offset 5"},
		"a directory outside": {args: []string{"-c", "1", "--cwd", "../.."}, code: exitUsage, err: "leads out of the workspace"},
		"exit with a code":    {args: []string{"-c", "raise SystemExit(7)"}, code: 7},
		"exit with words":     {args: []string{"-c", "raise SystemExit('bad luck')"}, code: exitRaised, err: "bad luck\n"},
		"time is over":        {args: []string{"-c", "while True: pass", "--timeout", "0.3"}, code: exitTimeout, err: "timed out after 300ms"},
		"input":               {args: []string{"-c", "a, b = input('name '), input(); print(a, b)"}, stdin: "Bob\r\nBuilder", out: "name Bob Builder\n"},
		"input at its end":    {args: []string{"-c", "input()"}, code: exitRaised, err: "EOFError"},
		"input that is code":  {args: []string{"-"}, stdin: "input()", code: exitRaised, err: "StdinNotImplementedError"},
		"environment": {
			args: []string{"-c", "import os; print(os.environ['A'], os.environ['OF_OURS'])", "-e", "A=b=c", "-e", "OF_OURS"},
			out:  "b=c passed on\n",
		},
		"files": {
			args: []string{
				"-c", "print(open('data.csv').read()); print(open('in/other').read()); print(open('tree/deep/x.txt').read())",
				"--file", data, "--file", data + "=in/other", "--file", filepath.Join(dir, "tree") + "/",
			},
			out: "a,b\n1,2\n\na,b\n1,2\n\ndeep\n",
		},
		"files stay inside": {args: []string{"-c", "1", "--file", data + "=../x"}, code: exitUsage, err: "leads out of the workspace"},
		"a folder with links out": {
			args: []string{"-c", "1", "--file", linked}, code: exitUsage, err: "--follow copies what links lead to",
		},
		"links out followed": {args: []string{"-c", "open('linked/out').read()", "--file", linked, "--follow"}, out: "'a,b\\n1,2\\n'\n"},
		"links out left": {
			args: []string{"-c", "import os; sorted(os.listdir('linked'))", "--file", linked, "--skip-unreadable"}, out: "['in', 'inside']\n", err: "1 left out",
		},
		"one's own folder": {
			args: []string{"-c", "open('by code', 'w').close(); open('data.csv').read(1)", "--workspace", dir}, out: "'a'\n",
		},
		"working directory": {args: []string{"-c", "import os; os.path.basename(os.getcwd())", "--cwd", "a/b"}, out: "'b'\n"},
		"kernel":            {args: []string{"-c", "1", "--kernel", "Python3"}, out: "1\n"},
		"unknown kernel":    {args: []string{"-c", "1", "--kernel", "fortran77"}, code: exitUsage, err: `kernel "fortran77" not found; installed kernels: `},
		"a dying kernel":    {args: []string{"-c", "import os; os._exit(3)"}, code: exitFailed, err: "exited with code 3"},
		"an image":          {args: []string{"-c", shownImage, "--out", filepath.Join(dir, "a/b")}, err: "<a picture>: " + filepath.Join(dir, "a/b/result-1.png")},
		"an image unsaved":  {args: []string{"-c", shownImage}, err: "--out DIR saves it"},
		"out is a file":     {args: []string{"-c", shownImage, "--out", data}, code: exitUsage, err: "--out: "},
		"a limit of memory": {
			args: []string{"-c", "held = []\nwhile len(held) < 3000: held.append(b'x' * (1 << 20))", "--memory", "300M"},
			code: exitRaised, err: "memory limit reached: 300 MiB allowed",
		},
		"a limit of time": {
			args: []string{"-c", "while True: pass", "--cpu-time", "2"}, code: exitRaised, err: "cpu time limit reached: 2s allowed",
		},
		"a limit of files": {args: []string{"-c", "open('x', 'wb').write(bytes(9999))", "--file-size", "1K"}, code: exitRaised, err: "File too large"},
		"trace":            {args: []string{"-c", "1", "--trace-wire"}, out: "1\n", err: "-> shell   execute_request"},
	} {
		t.Run(name, func(t *testing.T) {
			eachPython(t, func(t *testing.T, python string) {
				c := start(t, &streams{in: strings.NewReader(test.stdin)}, append([]string{"run", "--python", python}, test.args...)...)
				require.Equal(t, test.code, c.wait(), c.err.String())
				require.Equal(t, test.out, c.out.String())
				require.Contains(t, c.err.String(), test.err)
				require.NotContains(t, c.err.String(), "\x1b", "no terminal, no colours")
				if test.code == 0 && test.err == "" {
					require.Empty(t, c.err.String())
				}
			})
		})
	}
}

// counter counts what is written to it.
type counter struct{ bytes int }

func (c *counter) Write(p []byte) (int, error) {
	c.bytes += len(p)
	return len(p), nil
}

func TestMuchOutputEndsNoKernel(t *testing.T) {
	for code, want := range map[string]int{
		"print('x' * 300_000_000, end='')":                        300_000_000,
		"s = 'x' * 99_999\nfor i in range(4000): print(s)":        400_000_000,
		"for i in range(300): print(i, end='')\nprint('\\ud800')": 790 + 4,
	} {
		eachPython(t, func(t *testing.T, python string) {
			var out counter
			c := start(t, &streams{out: &out}, "run", "--python", python, "-c", code)
			require.Equal(t, 0, c.wait(), c.err.String())
			if !strings.Contains(c.err.String(), "were left out here") { // on a busy machine
				require.Equal(t, want, out.bytes)
			}
		})
	}
}

// shownImage shows a picture without a plotting library.
const shownImage = `
from IPython.display import display
import base64
display({"image/png": "` + tinyPNG + `", "text/plain": "<a picture>"}, raw=True)
`

// tinyPNG is a picture of one pixel.
const tinyPNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

func TestAnUpdatedImageReplacesItsFile(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		dir := t.TempDir()
		code := `
from IPython.display import display, update_display
bundle = {"image/png": "` + tinyPNG + `"}
display(bundle, raw=True, display_id="a")
display(bundle, raw=True)
update_display(bundle, raw=True, display_id="a")
`
		c := start(t, nil, "run", "--python", python, "-c", code, "--out", dir)
		require.Equal(t, 0, c.wait(), c.err.String())
		require.Equal(t, 2, strings.Count(c.err.String(), "result-1.png"))
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 3, "two results and the report")
	})
}

func TestJSONHasAnEventALine(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		out := t.TempDir()
		code := "import sys\nprint('<o>')\nsys.stdout.flush()\nprint('e', file=sys.stderr)\nsys.stderr.flush()\n" +
			"open('new.txt', 'w').close()\n" + shownImage + "\n1 / 0"
		c := start(t, nil, "run", "--python", python, "--json", "--out", out, "-c", code)
		require.Equal(t, exitRaised, c.wait())
		require.Empty(t, c.err.String())
		var kinds []string
		events := make(map[string]map[string]any)
		lines := bufio.NewScanner(strings.NewReader(c.out.String()))
		for lines.Scan() {
			var event map[string]any
			require.NoError(t, json.Unmarshal(lines.Bytes(), &event))
			kind := event["type"].(string)
			kinds = append(kinds, kind)
			events[kind] = event
		}
		require.Equal(t, []string{"started", "stdout", "stderr", "result", "error", "end"}, kinds)
		require.Contains(t, c.out.String(), `"<o>\n"`)
		require.Equal(t, tinyPNG, events["result"]["png"])
		require.Equal(t, []any{filepath.Join(out, "result-1.png")}, events["result"]["files"])
		require.FileExists(t, filepath.Join(out, "result-1.png"))
		require.Equal(t, "ZeroDivisionError", events["error"]["name"])
		require.EqualValues(t, exitRaised, events["end"]["exit_code"])
		require.NotContains(t, events["end"], "message")
		require.Len(t, events["end"]["files"], 1)
	})
}

func TestJSONEndsWithAnEventWhateverHappened(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "python3")
	c := start(t, nil, "run", "--python", missing, "--json", "-c", "1")
	require.Equal(t, exitFailed, c.wait())
	var event map[string]any
	require.NoError(t, json.Unmarshal([]byte(c.out.String()), &event))
	require.Equal(t, "end", event["type"])
	require.EqualValues(t, exitFailed, event["exit_code"])
	require.Contains(t, event["message"], missing)
}

func TestSignalsEndARunAndLeaveNothing(t *testing.T) {
	const polite = "import time\n\ntry:\n print('ready', flush=True)\n time.sleep(60)\nfinally: print('finally', flush=True)"
	const deaf = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(60)"
	for name, test := range map[string]struct {
		code    string
		signals []os.Signal
		exit    int
		out     string
	}{
		"the first Ctrl-C interrupts the code":   {polite, []os.Signal{os.Interrupt}, exitInterrupted, "ready\nfinally\n"},
		"the second Ctrl-C kills deaf code":      {deaf, []os.Signal{os.Interrupt, os.Interrupt}, exitInterrupted, "ready\n"},
		"a request to terminate kills":           {deaf, []os.Signal{syscall.SIGTERM}, exitTerminated, "ready\n"},
		"a terminal that goes away kills":        {deaf, []os.Signal{syscall.SIGHUP}, exitTerminated, "ready\n"},
		"a Ctrl-C and then a request to go kill": {deaf, []os.Signal{os.Interrupt, syscall.SIGTERM}, exitInterrupted, "ready\n"},
	} {
		t.Run(name, func(t *testing.T) {
			eachPython(t, func(t *testing.T, python string) {
				c := start(t, nil, "run", "--python", python, "-c", test.code)
				c.out.waitFor(t, "ready\n", 1)
				for _, sig := range test.signals {
					c.signals <- sig
				}
				require.Equal(t, test.exit, c.wait())
				require.Equal(t, test.out, c.out.String())
				require.NotContains(t, c.err.String(), "ds-sandbox:", "nothing is to be said about one's own signal")
			})
		})
	}
}

func TestASignalWhileTheKernelStartsEndsTheCommand(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		for _, args := range [][]string{{"run", "-c", "print('too far')"}, {"repl"}, {"doctor"}} {
			c := start(t, nil, append(args, "--python", python, "--trace-wire")...)
			c.signals <- syscall.SIGTERM
			require.Equal(t, exitTerminated, c.wait(), args)
			require.NotContains(t, c.out.String(), "too far")
		}
	})
}

func TestAClosedPipeEndsTheRunQuietly(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		defer func() { require.NoError(t, w.Close()) }()
		c := start(t, &streams{out: w}, "run", "--python", python, "-c", "while True: print('x' * 100)")
		_, err = r.Read(make([]byte, 10))
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.Equal(t, exitPipe, c.wait())
		require.NotContains(t, c.err.String(), "ds-sandbox")
	})
}
