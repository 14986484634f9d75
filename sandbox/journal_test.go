package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// told is a journal in short: what each entry is, with its run.
func told(entries []*sandbox.JournalEntry) []string {
	var out []string
	for _, entry := range entries {
		word := ""
		switch c := entry.Content.(type) {
		case *sandbox.RunBegan:
			word = "began " + c.Code
		case *sandbox.RunOver:
			word = fmt.Sprint("over ", c.Err)
		case *sandbox.Dropped:
			word = "dropped"
		case *messaging.Stream:
			word = c.Name + " " + strings.TrimSpace(c.Text)
		case *messaging.ExecuteResult:
			text, _ := c.Data.Text("text/plain")
			word = "value " + text
		case *messaging.ErrorOutput:
			word = "raised " + c.EName
		default:
			continue
		}
		out = append(out, fmt.Sprintf("%d: %s", entry.Run, word))
	}
	return out
}

func all(j *sandbox.Journal) []*sandbox.JournalEntry {
	var out []*sandbox.JournalEntry
	for entry := range j.All() {
		out = append(out, entry)
	}
	return out
}

func TestJournalKeepsRunsInOrder(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		c := sbx.DefaultContext()
		mustRun(t, ctx, sbx, "print('a')\n1 + 1")
		run, err := sbx.RunCode(ctx, "1 / 0", nil)
		require.NoError(t, err)
		require.Error(t, run.Err())

		entries := all(c.Journal())
		require.Equal(t, []string{
			"1: began print('a')\n1 + 1", "1: stdout a", "1: value 2", "1: over <nil>",
			"2: began 1 / 0", "2: raised ZeroDivisionError", "2: over <nil>",
		}, told(entries))
		for i, entry := range entries {
			require.EqualValues(t, i+1, entry.Number)
			require.False(t, entry.Time.IsZero())
		}
		require.Positive(t, entries[len(entries)-1].Content.(*sandbox.RunOver).Usage.Wall)

		require.NoError(t, sbx.Kill(ctx))
		require.Len(t, all(c.Journal()), len(entries), "it outlives its sandbox")
		reader := c.Journal().From(int64(len(entries)))
		_, err = reader.Next(ctx)
		require.NoError(t, err)
		_, err = reader.Next(ctx)
		require.ErrorIs(t, err, io.EOF)
	})
}

func TestLateReaderGetsWhatCameBeforeAndFollows(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		c := sbx.DefaultContext()
		mustRun(t, ctx, sbx, "print('early')")
		run, err := sbx.StartCode(ctx, "print('one', flush=True)\nimport os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('two')", nil)
		require.NoError(t, err)

		// Nobody reads the run, and yet its output is told.
		var seen []*sandbox.JournalEntry
		reader := c.Journal().From(1)
		until := func(last string) {
			for {
				entry, err := reader.Next(ctx)
				require.NoError(t, err)
				seen = append(seen, entry)
				if words := told(seen); len(words) > 0 && words[len(words)-1] == last {
					return
				}
			}
		}
		until("2: stdout one")
		require.Contains(t, told(seen), "1: stdout early")
		require.NoError(t, sbx.Files().Write(ctx, "go", nil))
		until("2: stdout two")
		_, err = run.Wait(ctx)
		require.NoError(t, err)
		until("2: over <nil>")

		waiting, cancel := context.WithCancel(ctx)
		cancel()
		_, err = reader.Next(waiting)
		require.ErrorIs(t, err, context.Canceled)

		require.NoError(t, c.Remove(ctx))
		_, err = reader.Next(ctx)
		require.ErrorIs(t, err, io.EOF)
	})
}

func TestJournalIsBoundedAndSaysWhatIsGone(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		ctx := testContext(t)
		engine := openEngine(t, python, func(c *sandbox.Config) { c.JournalBytes = 100_000 })
		sbx, err := engine.Create(ctx, nil)
		require.NoError(t, err)
		j := sbx.DefaultContext().Journal()
		slow := j.From(1)

		mustRun(t, ctx, sbx, "first = 1")
		run, err := sbx.RunCode(ctx, "from IPython.display import display\nfor i in range(300): display({'text/plain': str(i) * 400}, raw=True)", nil)
		require.NoError(t, err)
		require.Len(t, run.Results, 300, "the run itself misses nothing")

		entries := all(j)
		words := told(entries)
		require.Contains(t, words, "1: began first = 1", "code is kept when outputs are dropped")
		require.Contains(t, words, "0: dropped")
		require.Equal(t, "2: over <nil>", words[len(words)-1])
		requireWhole(t, entries)

		for i := range 300 { // so many that old runs go as well
			mustRun(t, ctx, sbx, fmt.Sprintf("%d", i))
		}
		entries = all(j)
		requireWhole(t, entries)
		require.NotContains(t, told(entries), "1: began first = 1")
		require.Less(t, len(entries), 200)

		entry, err := slow.Next(ctx)
		require.NoError(t, err)
		require.IsType(t, &sandbox.Dropped{}, entry.Content, "a slow reader is told")
	})
}

// requireWhole checks that numbers have no gap but for what is said to be dropped.
func requireWhole(t *testing.T, entries []*sandbox.JournalEntry) {
	t.Helper()
	next := int64(1)
	for _, entry := range entries {
		if d, ok := entry.Content.(*sandbox.Dropped); ok {
			next += d.Entries
			require.Equal(t, next-1, entry.Number)
			continue
		}
		require.Equal(t, next, entry.Number)
		next++
	}
}

func TestJournalTellsHowRunsFailed(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		c := sbx.DefaultContext()
		_, err := sbx.RunCode(ctx, "import os; os._exit(3)", nil)
		require.Error(t, err)
		mustRun(t, ctx, sbx, "'afresh'")
		var failed error
		for entry := range c.Journal().All() {
			if over, ok := entry.Content.(*sandbox.RunOver); ok && over.Err != nil {
				failed = errors.Join(failed, over.Err)
			}
		}
		require.EqualError(t, failed, err.Error())
		require.Contains(t, told(all(c.Journal())), "2: value 'afresh'")
	})
}

func TestJournalTellsTagsAnswersAndRestarts(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		c := sbx.DefaultContext()
		same, err := sbx.ContextFor(ctx, "Python3")
		require.NoError(t, err)
		require.Same(t, c, same)
		reader := c.Journal().From(1)
		entry, changed := reader.TryNext()
		require.Nil(t, entry)
		answer := func(_ context.Context, prompt string, _ bool) (string, error) { return "to " + prompt, nil }
		run, err := sbx.StartCode(ctx, "import getpass\ninput('a')\ngetpass.getpass('b')\n1 / 0", &sandbox.RunOptions{Tag: "mine", OnInput: answer})
		require.NoError(t, err)
		<-changed
		require.EqualValues(t, 1, run.Number())
		_, err = run.Wait(ctx)
		require.NoError(t, err)
		require.NoError(t, c.Restart(ctx))
		run, err = sbx.StartCode(ctx, "print('begun', flush=True)\nwhile True: pass", nil)
		require.NoError(t, err)
		for begun := false; !begun; {
			output, err := run.Next(ctx)
			require.NoError(t, err)
			_, begun = output.(*sandbox.OutputMessage)
		}
		require.NoError(t, c.Restart(ctx))
		_, _ = run.Wait(ctx) // how it ended is below

		var answers []string
		var restarts []int64
		var overs []*sandbox.RunOver
		for _, entry := range all(c.Journal()) {
			switch content := entry.Content.(type) {
			case *sandbox.RunBegan:
				if entry.Run == 1 {
					require.Equal(t, "mine", content.Tag)
				}
			case *sandbox.InputAnswered:
				answers = append(answers, content.Value)
			case *sandbox.Restarted:
				require.Equal(t, sandbox.OnRestart, content.Why)
				restarts = append(restarts, entry.Run)
			case *sandbox.RunOver:
				overs = append(overs, content)
			}
		}
		require.Equal(t, []string{"to a", ""}, answers, "secrets are not kept")
		require.Len(t, restarts, 2)
		require.Zero(t, restarts[0], "between runs")
		require.Len(t, overs, 2)
		require.Equal(t, 1, overs[0].ExecutionCount)
		require.Equal(t, "ZeroDivisionError", overs[0].Raised.Name)
		require.False(t, overs[1].Err == nil && overs[1].Raised == nil, "it died, or was interrupted before")
		for i, entry := range all(c.Journal()) {
			require.EqualValues(t, i+1, entry.Number)
		}
	})
}

func TestJournalHasWhatThreadsShowAfterTheirRun(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		mustRun(t, ctx, sbx, `import os, threading, time
def late():
    while not os.path.exists("go"): time.sleep(0.01)
    print("from a thread")
threading.Thread(target=late).start()`)
		require.NoError(t, sbx.Files().Write(ctx, "go", nil))
		r := sbx.DefaultContext().Journal().From(1)
		over := false
		for {
			entry, err := r.Next(ctx)
			require.NoError(t, err)
			switch c := entry.Content.(type) {
			case *sandbox.RunOver:
				over = true
			case *messaging.Stream:
				require.True(t, over)
				require.EqualValues(t, 1, entry.Run)
				require.Equal(t, "from a thread", strings.TrimSpace(c.Text))
				return
			}
		}
	})
}
