package interpreter_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server/e2b/interpreter"
)

func TestWhatARunShows(t *testing.T) {
	withService(t, nil, func(t *testing.T, s *service) {
		frames := s.code("import sys\nprint('ä\\u2028z\\U0001f600')\nprint('e', file=sys.stderr)\n'it'")
		require.Equal(t, []string{"number_of_executions", "stdout", "stderr", "result"}, kinds(frames))
		require.Equal(t, 1.0, frames[0]["execution_count"])
		require.Equal(t, "ä\u2028z\U0001f600\n", frames[1]["text"])
		_, err := time.Parse(time.RFC3339, frames[1]["timestamp"].(string))
		require.NoError(t, err)
		require.Equal(t, frame{"type": "result", "text": "it", "extra": map[string]any{}, "is_main_result": true}, frames[3])

		frames = s.code("1 +")
		require.Equal(t, []string{"number_of_executions", "error"}, kinds(frames))
		require.Equal(t, "SyntaxError", frames[1]["name"])
		require.NotContains(t, frames[1]["traceback"], "\x1b")
		require.Equal(t, 3.0, s.code("1/0")[0]["execution_count"])

		require.Equal(t, "1", text(t, s.code("        x = 1\n        x")), "all of it may be indented")
		require.Equal(t, []any{1.0, "a"}, s.code("[1, 'a']")[1]["json"])
		latex := s.code("from IPython.display import display\ndisplay({'text/latex': 'L', 'x/y': {'ä': None}}, raw=True)")[1]
		require.Equal(t, frame{"type": "result", "latex": "L", "extra": map[string]any{"x/y": map[string]any{"ä": nil}}, "is_main_result": false}, latex)

		frames = s.code("import pandas as pd\npd.DataFrame({'a': [1, float('nan')], 'b': ['x', 'y']})")
		require.Equal(t, map[string]any{"a": []any{1.0, nil}, "b": []any{"x", "y"}}, frames[1]["data"])
		frames = s.code("import matplotlib.pyplot as plt\nplt.plot([1, 2], [3, 4])\nplt.title('T')\nplt.show()\n'after'")
		require.Equal(t, []string{"number_of_executions", "result", "result"}, kinds(frames))
		require.NotEmpty(t, frames[1]["png"])
		chart := frames[1]["chart"].(map[string]any)
		require.Equal(t, "line", chart["type"])
		require.Equal(t, "T", chart["title"])
		require.Contains(t, chart, "x_unit")
		require.Nil(t, chart["x_unit"])
		require.Equal(t, "after", text(t, frames))

		require.Equal(t, "StdinNotImplementedError", s.code("input()")[1]["name"])
		require.Equal(t, []string{"number_of_executions", "stdout"}, kinds(s.code("!pwd")))
		require.Equal(t, "it's \"ä\"\n|o", s.run(map[string]any{
			"code":     "import os\nprint(os.environ['V'] + '|' + os.environ['OUTER'], end='')",
			"env_vars": map[string]string{"V": "it's \"ä\"\n"}, "context_id": nil, "language": nil,
		})[1]["text"])
		require.Equal(t, "None o", text(t, s.code("print\nf\"{os.environ.get('V')} {os.environ.get('OUTER')}\"")))
	})
}

func TestTextComesInPiecesAndAtOnce(t *testing.T) {
	withService(t, nil, func(t *testing.T, s *service) {
		frames := s.code("print('é' * 100_000)")
		var whole strings.Builder
		for _, f := range frames[1:] {
			piece := f["text"].(string)
			require.LessOrEqual(t, len(piece), 64<<10)
			whole.WriteString(piece)
		}
		require.Equal(t, strings.Repeat("é", 100_000)+"\n", whole.String())

		response, lines := s.start(context.Background(), map[string]any{"code": "import os, time\nprint('a')\nwhile not os.path.exists('go'): time.sleep(.01)\nprint('b')"})
		defer func() { _ = response.Body.Close() }()
		for _, kind := range []string{"number_of_executions", "stdout"} {
			f, err := next(lines)
			require.NoError(t, err)
			require.Equal(t, kind, f.kind())
		}
		require.NoError(t, s.member.Sandbox().Files().WriteString(context.Background(), "go", "")) // it waits for this
		f, err := next(lines)
		require.NoError(t, err)
		require.Equal(t, "b\n", f["text"])
	})
}

func TestMuchOutput(t *testing.T) {
	withService(t, nil, func(t *testing.T, s *service) {
		response, lines := s.start(context.Background(), map[string]any{"code": "for i in range(2000): print(i, 'x' * 10_000, flush=True)"})
		defer func() { _ = response.Body.Close() }()
		n := 0
		for {
			f, err := next(lines)
			if err == io.EOF { //nolint:errorlint // it comes as it is
				break
			}
			require.NoError(t, err)
			require.NotEqual(t, "truncated", f.kind())
			if f.kind() == "stdout" {
				n += strings.Count(f["text"].(string), "\n")
			}
		}
		require.Equal(t, 2000, n)
		frames := s.code("from IPython.display import HTML\nHTML('x' * 20_000_000)")
		require.Len(t, frames[1]["html"], 20_000_000)
	})
}

func TestSilenceIsFilled(t *testing.T) {
	withService(t, &interpreter.Options{Keepalive: 20 * time.Millisecond}, func(t *testing.T, s *service) {
		response, lines := s.start(context.Background(), map[string]any{"code": "import os, time\nwhile not os.path.exists('go'): time.sleep(.01)"})
		defer func() { _ = response.Body.Close() }()
		seen := 0
		for {
			f, err := next(lines)
			require.NoError(t, err)
			if f.kind() == "end_of_execution" {
				break
			}
			if f.kind() == "keepalive" {
				if seen++; seen == 3 {
					require.NoError(t, s.member.Sandbox().Files().WriteString(context.Background(), "go", ""))
				}
			}
		}
		require.GreaterOrEqual(t, seen, 3)
	})
}

// begin starts code that says when it runs, and waits for that.
func begin(t *testing.T, ctx context.Context, s *service, code string) (*http.Response, func() (frame, error)) {
	t.Helper()
	response, lines := s.start(ctx, map[string]any{"code": "print('runs', flush=True)\n" + code})
	for {
		f, err := next(lines)
		require.NoError(t, err)
		if f.kind() == "stdout" {
			return response, func() (frame, error) { return next(lines) }
		}
	}
}

const sleep = "import time\ntime.sleep(300)"

func TestAClientThatLeavesEndsItsRun(t *testing.T) {
	withService(t, nil, func(t *testing.T, s *service) {
		s.code("kept = 41")
		ctx, leave := context.WithCancel(context.Background())
		response, _ := begin(t, ctx, s, sleep)
		leave()
		_ = response.Body.Close()
		require.Equal(t, "42", text(t, s.code("kept + 1")))
	})
}

func TestAClientThatDoesNotReadEndsItsRun(t *testing.T) {
	withService(t, &interpreter.Options{WriteTimeout: 300 * time.Millisecond}, func(t *testing.T, s *service) {
		s.code("kept = 41")
		response, _ := begin(t, context.Background(), s, "while True: print('x' * 100_000)")
		defer func() { _ = response.Body.Close() }()
		require.Equal(t, "42", text(t, s.code("kept + 1")), "it waits for the run before it")
	})
}

func TestAKilledSandboxBreaksTheConnectionOff(t *testing.T) {
	withService(t, nil, func(t *testing.T, s *service) {
		response, read := begin(t, context.Background(), s, sleep)
		defer func() { _ = response.Body.Close() }()
		require.NoError(t, s.member.Kill(context.Background()))
		for {
			f, err := read()
			if err != nil {
				require.ErrorIs(t, err, io.ErrUnexpectedEOF)
				return
			}
			require.NotEqual(t, "end_of_execution", f.kind())
		}
	})
}

func TestWhatEndsARunIsTold(t *testing.T) {
	withService(t, nil, func(t *testing.T, s *service) {
		frames := s.code("import os; os._exit(7)")
		last := frames[len(frames)-1]
		require.Equal(t, "UnexpectedEndOfExecution", last["name"])
		require.Contains(t, last["value"], "code 7")
		require.Equal(t, "2", text(t, s.code("1 + 1")), "the next run starts afresh")

		id := s.newest().ID
		_, read := begin(t, context.Background(), s, sleep)
		status, body := s.ask(http.MethodPost, "/contexts/"+s.first().ID+"/restart", "")
		require.Equal(t, "200 null", fmt.Sprint(status, " ", body))
		f, err := read()
		require.NoError(t, err)
		require.Equal(t, "ContextRestarting", f["name"])
		require.Equal(t, "Context was restarted", f["value"])
		f, err = read()
		require.NoError(t, err)
		require.Equal(t, "end_of_execution", f.kind())
		require.Equal(t, "2", text(t, s.code("1 + 1")))
		require.Equal(t, id, s.newest().ID)

		frames = s.code("x = '\x00'")
		require.Equal(t, "ExecutionAborted", frames[0]["name"])
		require.Contains(t, frames[0]["value"], "NUL")
	})
}
