package containers_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/dockertest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// leavingVariable has the test program play a program that leaves a sandbox behind; see leave.
const leavingVariable = "SANDBOX_TEST_LEAVES"

// counting prints a number every 50 ms.
const counting = "import time\nfor i in range(%d):\n    print(i, flush=True)\n    time.sleep(.05)\n'counted'"

// leave makes a sandbox, begins a run, tells its id once that has shown something, and waits to be killed.
func leave() error {
	ctx := context.Background()
	engine, err := sandbox.Open(ctx, sandbox.Config{DefaultBackend: "docker", NoForkServer: true, MaxSpares: sandbox.NoSpares})
	if err != nil {
		return err
	}
	sbx, err := engine.Create(ctx, &sandbox.Options{Metadata: map[string]string{"owner": "the first"}})
	if err != nil {
		return err
	}
	if _, err := sbx.RunCode(ctx, "kept = 41", nil); err != nil {
		return err
	}
	second, err := sbx.CreateContext(ctx, &sandbox.ContextOptions{Env: map[string]string{"WHICH": "second"}})
	if err != nil {
		return err
	}
	if _, err := second.RunCode(ctx, "kept = 'of the second'", nil); err != nil {
		return err
	}
	run, err := sbx.StartCode(ctx, fmt.Sprintf(counting, 100), nil)
	if err != nil {
		return err
	}
	for range 10 {
		if _, err := run.Next(ctx); err != nil {
			return err
		}
	}
	fmt.Println("left", sbx.ID(), second.ID())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// left starts a program that leaves a sandbox, as what says, and kills it once it has told the sandbox's id and something else.
func left(t *testing.T, what string) (sandboxID, more string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), leavingVariable+"="+what, "DS_SANDBOX_AGENT="+dockertest.Config(t).Agent)
	cmd.Stderr = os.Stderr
	_, err = cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "left" {
			return fields[1], fields[2]
		}
	}
	t.Fatal("the first program said nothing")
	return "", ""
}

func TestAProgramThatComesBackGetsItsSandboxAndTheRunUnderWay(t *testing.T) {
	id, second := left(t, "run")
	engine := openDocker(t, nil)
	ctx := testContext(t)
	orphans, err := engine.Orphans(ctx)
	require.NoError(t, err)
	require.Contains(t, orphans, id)
	sbx, err := engine.Connect(ctx, id)
	require.NoError(t, err)
	require.Equal(t, "the first", sbx.Info().Metadata["owner"])
	again, err := engine.Connect(ctx, id)
	require.NoError(t, err)
	require.Same(t, sbx, again)

	run, err := sbx.DefaultContext().Resume(ctx, nil)
	require.NoError(t, err)
	execution, err := run.Wait(ctx)
	require.NoError(t, err)
	want := new(strings.Builder)
	for i := range 100 {
		fmt.Fprintln(want, i)
	}
	require.Equal(t, want.String(), execution.Stdout(), "without a gap, from its beginning")
	require.Equal(t, "'counted'", execution.Text())
	_, err = sbx.DefaultContext().Resume(ctx, nil)
	require.ErrorIs(t, err, sandbox.ErrNoRun)
	require.Equal(t, "42", text(t, sbx, "kept + 1"))

	c, err := sbx.Context(second)
	require.NoError(t, err)
	other, err := c.RunCode(ctx, "import os; kept + ' ' + os.environ['WHICH']", nil)
	require.NoError(t, err)
	require.Equal(t, "'of the second second'", other.Text())

	// What happened is in the journal, the code too.
	var code string
	for entry := range sbx.DefaultContext().Journal().All() {
		if began, ok := entry.Content.(*sandbox.RunBegan); ok {
			code = began.Code
			break
		}
	}
	require.Equal(t, fmt.Sprintf(counting, 100), code)
	require.NoError(t, sbx.Kill(ctx))
	_, err = engine.Connect(ctx, id)
	require.ErrorIs(t, err, sandbox.ErrNotFound)
}

func TestADetachedSandboxIsTakenOverAndNobodyElsesIs(t *testing.T) {
	first, second := openDocker(t, nil), openDocker(t, nil)
	ctx := testContext(t)
	sbx, err := first.Create(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, "1", text(t, sbx, "x = 1; x"))
	_, err = second.Connect(ctx, sbx.ID())
	require.ErrorIs(t, err, backends.ErrInUse)

	run, err := sbx.StartCode(ctx, fmt.Sprintf(counting, 20), nil)
	require.NoError(t, err)
	require.NoError(t, sbx.Detach(ctx))
	_, err = run.Wait(ctx)
	require.Error(t, err)
	_, err = sbx.RunCode(ctx, "x", nil)
	require.ErrorIs(t, err, sandbox.ErrDetached)
	require.ErrorIs(t, sbx.Detach(ctx), sandbox.ErrDetached)

	taken, err := second.Connect(ctx, sbx.ID())
	require.NoError(t, err)
	require.Equal(t, "1", text(t, taken, "x"), "behind the run that went on")
	resumed, err := taken.DefaultContext().Resume(ctx, nil)
	require.NoError(t, err, "a run that is over can still be read")
	execution, err := resumed.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, 20, strings.Count(execution.Stdout(), "\n"))
	require.NoError(t, taken.Kill(ctx))
}

func TestAResumedRunIsCancelledLikeAnyOther(t *testing.T) {
	engine := openDocker(t, nil)
	ctx := testContext(t)
	sbx, err := engine.Create(ctx, nil)
	require.NoError(t, err)
	run, err := sbx.StartCode(ctx, "import time\nprint('begun', flush=True)\ntime.sleep(1000)", nil)
	require.NoError(t, err)
	_, err = run.Next(ctx)
	require.NoError(t, err)
	require.NoError(t, sbx.Detach(ctx))
	taken, err := engine.Connect(ctx, sbx.ID())
	require.NoError(t, err)
	defer func() { require.NoError(t, taken.Kill(ctx)) }()
	cause := errors.New("enough")
	bound, cancel := context.WithCancelCause(ctx)
	resumed, err := taken.DefaultContext().Resume(bound, nil)
	require.NoError(t, err)
	time.AfterFunc(200*time.Millisecond, func() { cancel(cause) })
	execution, err := resumed.Wait(ctx)
	require.ErrorIs(t, err, cause)
	require.Equal(t, "begun\n", execution.Stdout())
	require.Equal(t, "2", text(t, taken, "1 + 1"))
}
