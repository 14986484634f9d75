package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestREPLWithoutATerminalReadsLines(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		input := "x = 3\ndef f():\n  return x\n\nf()\n1 / 0\nprint('on')\n\nif x:\n  print('the end')"
		c := start(t, &streams{in: strings.NewReader(input)}, "repl", "--python", python)
		require.Equal(t, 0, c.wait())
		require.Equal(t, "3\non\nthe end\n", c.out.String())
		require.Contains(t, c.err.String(), "ZeroDivisionError")
		require.NotContains(t, c.err.String(), "\x1b")
	})
}

func TestREPLWithoutATerminalShowsHelpWithoutColours(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		c := start(t, &streams{in: strings.NewReader("?len\nexit\nprint('not reached')\n")}, "repl", "--python", python)
		require.Equal(t, 0, c.wait())
		require.Contains(t, c.out.String(), "Return the number of items in a container")
		require.NotContains(t, c.out.String(), "\x1b")
		require.NotContains(t, c.out.String(), "not reached")
	})
}
