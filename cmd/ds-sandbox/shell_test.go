package main

import (
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShellWithoutATerminal(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		for _, c := range []struct {
			in, out, err string
			args         []string
			code         int
		}{
			{in: "echo one; echo two >&2\nread line; echo \"got $line\"\nthe line\nexit 7\n", out: "one\ngot the line\n", err: "two\n", code: 7},
			{in: "carried over\n", out: "carried over\n", args: []string{"--", "cat"}},
			{out: "a b|c\n", args: []string{"--", "printf", `%s|%s\n`, "a b", "c"}},
			{out: "deep value\n", args: []string{"--cwd", "new/deep", "-e", "NAME=value", "--", "sh", "-c", `echo "$(basename "$PWD") $NAME"`}},
			{args: []string{"--", "sh", "-c", "kill -TERM $$"}, code: 128 + int(syscall.SIGTERM)},
			{out: strings.Repeat("0123456789\n", 300_000), args: []string{"--", "sh", "-c", "yes 0123456789 | head -n 300000"}},
		} {
			run := start(t, &streams{in: strings.NewReader(c.in)}, append([]string{"shell", "--python", python}, c.args...)...)
			require.Equal(t, c.code, run.wait(), c.args)
			require.Equal(t, c.out, run.out.String(), c.args)
			require.Equal(t, c.err, run.err.String(), c.args)
		}
	})
}

func TestShellMistakes(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		c := start(t, nil, "shell", "--python", python, "program")
		require.Equal(t, exitUsage, c.wait())
		require.Contains(t, c.err.String(), "goes after --")
		c = start(t, nil, "shell", "--python", python, "--", "no-such-program")
		require.Equal(t, exitFailed, c.wait())
		require.Contains(t, c.err.String(), `"no-such-program"`)
	})
}

func TestShellEndsWithItsSignal(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		c := start(t, nil, "shell", "--python", python, "--", "sh", "-c", "echo up; sleep 600")
		c.out.waitFor(t, "up\n", 1)
		c.signals <- syscall.SIGTERM
		require.Equal(t, exitTerminated, c.wait())
	})
}
