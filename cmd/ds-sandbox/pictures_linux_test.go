package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFiguresAppearInATerminalThatCanShowThem(t *testing.T) {
	const kitty, sixel, neither = "\x1b_Gi=31;OK\x1b\\\x1b[?62;c", "\x1b[?62;4c", "\x1b[?62;22c"
	for name, test := range map[string]struct{ answer, shown string }{
		"kitty's protocol": {kitty, "\x1b_Ga=T,f=100"},
		"sixels":           {sixel, "\x1bP0;1q"},
		"neither":          {neither, "--out DIR saves it"},
	} {
		t.Run(name, func(t *testing.T) {
			python := pythons[0]
			t.Setenv("TERM", "xterm-256color")
			tt := newTerminal(t)
			c := start(t, tt.streams(), "run", "--python", python, "-c", "print('text', end='')\n"+shownImage)
			tt.types(test.answer, "\x1b[c", 1)
			require.Equal(t, 0, c.wait())
			tt.screen.waitFor(t, test.shown, 1)
			require.False(t, tt.isRaw())

			tt = newTerminal(t)
			c = start(t, tt.streams(), "repl", "--python", python, "--history", "none")
			tt.types(test.answer, "\x1b[c", 1)
			tt.types(`from IPython.display import display; display({"image/png": "`+tinyPNG+`"}, raw=True)`+enter, "In [", 1)
			tt.typesAtPrompt(ctrlD, test.shown, 1)
			require.Equal(t, 0, c.wait())
		})
	}
}

func TestATerminalThatNeverAnswersHoldsUpNothing(t *testing.T) {
	t.Setenv("TERM", "xterm-256color")
	tt := newTerminal(t)
	c := start(t, tt.streams(), "run", "--python", pythons[0], "-c", shownImage)
	require.Equal(t, 0, c.wait())
	require.False(t, tt.isRaw())
}
