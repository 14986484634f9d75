package docker_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// What is asked of a sandbox after an attack on its agent.
const (
	usable = "usable" // it goes on
	ended  = "ended"  // calls say that it is destroyed
	either = "either" // it goes on, or calls are errors
)

// callTime bounds calls of a sandbox that was attacked.
const callTime = 2 * time.Second

// attack runs a line in a sandbox of its own. What the line prints and whether it survives is nobody's business; afterwards every
// call ends in time, as expected, and the sandbox is destroyed at once.
func attack(t *testing.T, b *sandboxes, profile backends.Profile, line, expected string) {
	t.Helper()
	ctx := testContext(t)
	in := b.make(t, profile)
	short, cancel := context.WithTimeout(ctx, callTime)
	_, err := try(short, in, line)
	cancel()
	t.Logf("the attack: %v", err)
	for name, call := range map[string]func(context.Context) error{
		"command": func(ctx context.Context) error {
			out, err := try(ctx, in, "echo on")
			if err == nil && out != "on\n" {
				err = errors.New("printed " + out)
			}
			return err
		},
		"list": func(ctx context.Context) error { _, err := in.Files().List(ctx, "", 1); return err },
		"kernel": func(ctx context.Context) error {
			k, err := in.StartKernel(ctx, backends.KernelConfig{})
			if err == nil {
				err = k.Signal(ctx, backends.Kill)
			}
			return err
		},
		"stats": func(ctx context.Context) error { _, err := in.Stats(ctx); return err },
	} {
		begun := time.Now()
		short, cancel := context.WithTimeout(ctx, callTime)
		err := call(short)
		cancel()
		require.Less(t, time.Since(begun), callTime+2*time.Second, name)
		t.Logf("%s after %v: %v", name, time.Since(begun).Round(time.Millisecond), err)
		switch expected {
		case usable:
			require.NoError(t, err, name)
		case ended:
			require.ErrorIs(t, err, backends.ErrDestroyed, name)
			require.NotErrorIs(t, err, context.DeadlineExceeded, name)
		}
	}
	begun := time.Now()
	require.NoError(t, in.Destroy(ctx))
	require.Less(t, time.Since(begun), 5*time.Second)
}

// sandboxes are a backend and a sandbox of it that must not notice.
type sandboxes struct {
	backends.Backend
	neighbour backends.Instance
	made      atomic.Int64
}

func withNeighbour(t *testing.T) *sandboxes {
	t.Helper()
	d := &sandboxes{Backend: open(t, nil)}
	d.neighbour = d.make(t, "")
	return d
}

// all runs cases side by side, while the neighbour is looked after.
func (d *sandboxes) all(t *testing.T, cases []func(*testing.T)) {
	t.Helper()
	well(t, d.neighbour, 96<<20, func() {
		t.Run("all", func(t *testing.T) {
			for _, run := range cases {
				run(t)
			}
		})
	})
}

func (d *sandboxes) make(t *testing.T, profile backends.Profile) backends.Instance {
	t.Helper()
	in, err := d.Create(testContext(t), backends.Spec{ID: "one" + strconv.FormatInt(d.made.Add(1), 10), Container: backends.Container{Profile: profile}})
	require.NoError(t, err)
	return in
}

// TestProofAgentAsUser attacks the agent and its helpers as the sandbox's user.
func TestProofAgentAsUser(t *testing.T) {
	b := withNeighbour(t)
	var cases []func(*testing.T)
	for _, run := range []struct{ name, line, expected string }{
		{"signals to the agent", "for s in $(seq 1 64); do kill -$s 1; kill -$s -1 2>/dev/null & done", either},
		{"signals to process 1 alone", "for s in $(seq 1 64); do kill -$s 1; done", usable},
		{"kills all it may", "kill -9 -1", either},
		{"stops all it may", "kill -STOP -1", either},
		{"kills the helpers", "pkill -9 python3; pkill -9 python", either},
		{"stops the helpers", "pkill -STOP python3; pkill -STOP python", either},
		{"removes all it may", "rm -rf /run/ds-sandbox /var/lib/ds-sandbox /home/user /tmp/* 2>/dev/null; cd /; ls -la /run", either},
		{"links for folders", "rm -rf /run/ds-sandbox/* /var/lib/ds-sandbox/*; ln -s /etc /run/ds-sandbox/sandbox; ln -s /proc/1 /var/lib/ds-sandbox/sandbox", either},
		{"starts the bridge", "for i in $(seq 50); do /opt/ds-sandbox/bin/ds-sandbox-agent bridge < /dev/zero & done; wait", usable},
		{"starts another agent", "timeout 3 /opt/ds-sandbox/bin/ds-sandbox-agent serve", usable},
	} {
		cases = append(cases, func(t *testing.T) {
			t.Run(run.name, func(t *testing.T) {
				t.Parallel()
				attack(t, b, backends.ProfileHardened, run.line, run.expected)
			})
		})
	}
	b.all(t, cases)
}

// TestProofAgentAsRoot attacks the agent as root of a compatible sandbox: it may end it, and no call hangs for it.
func TestProofAgentAsRoot(t *testing.T) {
	b := withNeighbour(t)
	const dead = "; pkill -9 -f 'ds-sandbox-agent bridge'"
	var cases []func(*testing.T)
	for _, run := range []struct{ name, line, expected string }{
		{"kills", "for s in 9 19 1 2 3 10 12; do kill -$s 1; done", usable},
		{"terminates", "kill -TERM 1; sleep 1", either},
		{"aborts", "kill -ABRT 1; kill -SEGV 1; kill -BUS 1; sleep 5", ended},
		{"kills all", "kill -9 -1", either},
		{"stops all", "kill -STOP -1", either},
		{"kills bridges for ever", "while true; do pkill -9 -f 'ds-sandbox-agent bridge'; done", either},
		{"takes the binary", "rm -f /opt/ds-sandbox/bin/ds-sandbox-agent" + dead, either},
		{"hangs instead of the binary", "printf '#!/bin/sh\\nexec sleep 600\\n' > /tmp/x; chmod 755 /tmp/x; mv /tmp/x /opt/ds-sandbox/bin/ds-sandbox-agent" + dead, either},
		{"floods instead of the binary", "printf '#!/bin/sh\\nexec cat /dev/zero\\n' > /tmp/x; chmod 755 /tmp/x; mv /tmp/x /opt/ds-sandbox/bin/ds-sandbox-agent" + dead, either},
		{"another's socket", "rm -f /run/ds-sandbox-agent/sock; python3 -c 'import socket; s = socket.socket(1); s.bind(\"/run/ds-sandbox-agent/sock\"); s.listen()\nwhile True: s.accept()[0].sendall(bytes(100000))' & sleep 0.3" + dead, either},
		{"removes everything", "rm -rf --no-preserve-root / 2>/dev/null", either},
	} {
		cases = append(cases, func(t *testing.T) {
			t.Run(run.name, func(t *testing.T) {
				t.Parallel()
				attack(t, b, backends.ProfileCompatible, "exec sudo sh -c '"+quoted(run.line)+"'", run.expected)
			})
		})
	}
	b.all(t, cases)
}

// quoted is a line within single quotes of a shell.
func quoted(line string) string {
	out := ""
	for _, r := range line {
		if r == '\'' {
			out += `'\''`
		} else {
			out += string(r)
		}
	}
	return out
}
