package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends/local/pyenv"
)

// pythons are the interpreters that kernels are tested on; settled before TestMain takes the person's settings away.
var pythons []string

func TestMain(m *testing.M) {
	pythons = testPythons()
	_ = os.Setenv("TERM", "dumb") // which shows no pictures
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "DS_SANDBOX_") && name != "DS_SANDBOX_REQUIRE" && name != "DS_SANDBOX_DATA_DIR" {
			_ = os.Unsetenv(name)
		}
	}
	_ = os.Setenv("DS_SANDBOX_BACKEND", "local") // tests of containers ask for them
	code := m.Run()
	if left := leaked(); code == 0 && left != "" {
		fmt.Fprintln(os.Stderr, "goroutines are left:\n"+left)
		code = 1
	}
	os.Exit(code)
}

func testPythons() []string {
	if list := os.Getenv("DS_SANDBOX_TEST_PYTHONS"); list != "" {
		return filepath.SplitList(list)
	}
	var found []string
	for _, a := range pyenv.Survey(context.Background(), pyenv.Options{}) {
		if a.Err == nil {
			found = append(found, a.Python.Executable)
		}
	}
	return found
}

// leaked lists goroutines of ours that do not end by themselves soon.
func leaked() string {
	var left string
	for range 100 {
		buf := make([]byte, 1<<20)
		stacks := string(buf[:runtime.Stack(buf, true)])
		left = ""
		for i, g := range strings.Split(stacks, "\n\n") {
			if i > 0 && strings.Contains(g, "ds-sandbox") {
				left += g + "\n\n"
			}
		}
		if left == "" {
			return ""
		}
		time.Sleep(20 * time.Millisecond)
	}
	return left
}

// eachPython runs a test on every interpreter there is.
func eachPython(t *testing.T, f func(t *testing.T, python string)) {
	t.Helper()
	if len(pythons) == 0 {
		if strings.Contains(os.Getenv("DS_SANDBOX_REQUIRE"), "python") {
			t.Fatal("no Python with ipykernel, which DS_SANDBOX_REQUIRE demands: `ds-sandbox setup` makes one")
		}
		t.Skip("no Python with ipykernel: `ds-sandbox setup` makes one")
	}
	for i, python := range pythons {
		t.Run(fmt.Sprintf("python%d", i), func(t *testing.T) { f(t, python) })
	}
}

// buffer is a stream that a test reads while a command writes.
type buffer struct {
	mu      sync.Mutex
	data    bytes.Buffer
	changed chan struct{}
}

func newBuffer() *buffer { return &buffer{changed: make(chan struct{}, 1)} }

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.changed <- struct{}{}:
	default:
	}
	return b.data.Write(p)
}

// pasteMode is what switches a terminal's paste mode, between any two lines.
var pasteMode = strings.NewReplacer("\x1b[?2004h", "", "\x1b[?2004l", "")

// String is all that was written, without the switching of paste mode.
func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return pasteMode.Replace(b.data.String())
}

// waitFor waits until the stream holds text n times.
func (b *buffer) waitFor(t *testing.T, text string, n int) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for strings.Count(b.String(), text) < n {
		select {
		case <-b.changed:
		case <-limit:
			t.Fatalf("no %q (%d times) in %q", text, n, b.String())
		}
	}
}

// command is a command line under way in this process.
type command struct {
	t        *testing.T
	base     string // of its workspaces
	out, err *buffer
	signals  chan os.Signal
	code     chan int
	ended    bool
}

// start starts a command line. Commands that open engines get the flags that keep them apart from all else.
func start(t *testing.T, s *streams, args ...string) *command {
	t.Helper()
	c := &command{t: t, out: newBuffer(), err: newBuffer(), signals: make(chan os.Signal, 4), code: make(chan int, 1)}
	c.base = filepath.Join(t.TempDir(), "base")
	if s == nil {
		s = new(streams)
	}
	if s.in == nil {
		s.in = strings.NewReader("")
	}
	if s.out == nil {
		s.out = c.out
	}
	if s.err == nil {
		s.err = c.err
	}
	s.signals = c.signals
	if len(args) > 0 {
		args = append([]string{args[0], "--workspace-base", c.base}, args[1:]...)
	}
	go func() { c.code <- execute(context.Background(), args, s) }()
	t.Cleanup(func() {
		if !c.ended { // the test failed
			c.signals <- syscall.SIGTERM
			<-c.code
		}
	})
	return c
}

// wait waits for the exit code and checks that no workspace is left.
func (c *command) wait() int {
	c.t.Helper()
	select {
	case code := <-c.code:
		c.ended = true
		left, err := os.ReadDir(c.base)
		if !os.IsNotExist(err) {
			require.NoError(c.t, err)
			require.Empty(c.t, left, "folders are left")
		}
		return code
	case <-time.After(60 * time.Second):
		c.t.Fatalf("the command does not end; out %q, err %q", c.out.String(), c.err.String())
		return 0
	}
}
