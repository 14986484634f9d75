package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNotebookShowsABarOnATerminal(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		t.Setenv("NO_COLOR", "1")
		tt := newTerminal(t)
		in := notebookFile(t, "a = 1", "print('never on the screen')", "1/0")
		c := start(t, tt.streams(), "notebook", "run", in, "-o", filepath.Join(t.TempDir(), "out.ipynb"), "--python", python)
		require.Equal(t, exitRaised, c.wait())
		tt.screen.waitFor(t, "ZeroDivisionError: division by zero\r\n", 1)
		screen := tt.screen.String()
		require.Contains(t, screen, "[......"+"..............] 0/3  a = 1")
		require.Contains(t, screen, "[#############.......] 2/3  1/0")
		require.Contains(t, screen, "[####################] 3/3")
		require.NotContains(t, screen, "never on the screen\r\n")
		require.False(t, tt.isRaw())
	})
}
