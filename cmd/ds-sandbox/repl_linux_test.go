package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	enter = "\r"
	ctrlD = "\x04"
	up    = "\x1b[A"
)

// talk starts a repl on a terminal, without colours.
func talk(t *testing.T, python string, args ...string) (*terminal, *command) {
	t.Helper()
	t.Setenv("NO_COLOR", "1")
	tt := newTerminal(t)
	args = append([]string{"repl", "--python", python, "--history", filepath.Join(t.TempDir(), "history")}, args...)
	return tt, start(t, tt.streams(), args...)
}

func TestREPLShowsValuesAndLeavesWithCtrlD(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		tt, c := talk(t, python)
		tt.types("6 * 7"+enter, "In [1]: ", 1)
		tt.typesAtPrompt("print('text', end='')"+enter, "Out[1]: 42", 1)
		tt.types("1 / 0"+enter, "In [3]: ", 1)
		tt.typesAtPrompt("[_, 1]"+enter, "ZeroDivisionError: division by zero", 1)
		tt.typesAtPrompt(ctrlD, "Out[4]: [42, 1]", 1)
		require.Equal(t, 0, c.wait())
		require.Contains(t, tt.screen.String(), "\r\ntext\r\nIn [3]: ", "the prompt begins a line")
		require.NotContains(t, tt.screen.String(), "\x1b[31m")
		require.False(t, tt.isRaw())
	})
}

func TestREPLReadsBlocksWithTheirIndent(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		tt, c := talk(t, python)
		tt.types("def f(x):"+enter, "In [1]: ", 1)
		tt.types("return x * 2"+enter, "   ...:     ", 1)
		tt.types(enter, "   ...:     ", 2)
		tt.types("f(21)"+enter, "In [2]: ", 1)
		tt.typesAtPrompt("exit"+enter, "Out[2]: 42", 1)
		require.Equal(t, 0, c.wait())
	})
}

func TestREPLTakesAPasteAsItIs(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		tt, c := talk(t, python)
		paste := "for i in range(2):\r    print('a', i)\r\r\tprint('never')\r"
		paste = strings.ReplaceAll(paste, "\t", "    ")
		tt.types("\x1b[200~"+paste+"\x1b[201~", "In [1]: ", 1)
		tt.types(enter, "print('never')\r\n", 1)
		tt.typesAtPrompt("'over'"+enter, "never\r\nIn [2]: ", 1)
		tt.typesAtPrompt(ctrlD, "Out[2]: 'over'", 1)
		require.Equal(t, 0, c.wait())
		require.Equal(t, 2, strings.Count(tt.screen.String(), "\r\nnever"))
	})
}

func TestREPLCtrlCDropsTheLineOrStopsTheCode(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		tt, c := talk(t, python)
		tt.types("half a line\x03", "In [1]: ", 1)
		tt.types("print('go'); import time; time.sleep(60)"+enter, "In [1]: ", 2)
		tt.screen.waitFor(t, "\r\ngo", 1)
		c.signals <- os.Interrupt // the terminal is not raw now: the key would be the signal
		tt.types("input('name? ')"+enter, "In [2]: ", 1)
		tt.types("\x03", "\nname? ", 1)
		tt.types("'alive'"+enter, "In [3]: ", 1)
		tt.typesAtPrompt(ctrlD, "Out[3]: 'alive'", 1)
		require.Equal(t, 0, c.wait())
		require.Equal(t, 2, strings.Count(tt.screen.String(), "\nKeyboardInterrupt: "), "once in the code, once at the question")
		require.NotContains(t, tt.screen.String(), "EOFError")
	})
}

func TestREPLAsksForInputAndHidesPasswords(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		history := filepath.Join(t.TempDir(), "history")
		tt, c := talk(t, python, "--history", history)
		tt.types("x = input('name? ')"+enter, "In [1]: ", 1)
		tt.types("Bob"+enter, "\nname? ", 1)
		tt.types("import getpass; p = getpass.getpass('word: ')"+enter, "In [2]: ", 1)
		tt.types("secret"+enter, "\nword: ", 1)
		tt.types("x, len(p)"+enter, "In [3]: ", 1)
		tt.typesAtPrompt("input('end? ')"+enter, "Out[3]: ('Bob', 6)", 1)
		tt.types(ctrlD, "\nend? ", 1)
		tt.typesAtPrompt(ctrlD, "EOFError", 1)
		require.Equal(t, 0, c.wait())
		require.NotContains(t, tt.screen.String(), "secret")
		kept, err := os.ReadFile(history)
		require.NoError(t, err)
		require.Contains(t, string(kept), "x, len(p)\n")
		require.NotContains(t, string(kept), "Bob\n")
		require.NotContains(t, string(kept), "secret")
	})
}

func TestREPLCompletesAndHelps(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		tt, c := talk(t, python)
		tt.types("\t'in' + 'dented'"+enter, "In [1]: ", 1)
		tt.typesAtPrompt("ä_long_name = 5; ä_long_nase = 6"+enter, "Out[1]: 'indented'", 1)
		tt.types("ä_lo\t", "In [3]: ", 1)         // grows to what they share
		tt.types("\t", "ä_lo\x1b[4Dä_long_na", 1) // lists
		tt.types("m\t"+enter, "ä_long_nase", 2)
		tt.typesAtPrompt("?len"+enter, "Out[3]: 5", 1)
		tt.typesAtPrompt(ctrlD, "Return the number of items in a container", 1)
		require.Equal(t, 0, c.wait())
	})
}

func TestREPLRemembersLinesOfEarlierOnes(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		history := filepath.Join(t.TempDir(), "dir", "history")
		tt, c := talk(t, python, "--history", history)
		tt.types("'first' + ' time'"+enter, "In [1]: ", 1)
		tt.typesAtPrompt("quit()"+enter, "Out[1]: ", 1)
		require.Equal(t, 0, c.wait())

		tt, c = talk(t, python, "--history", history)
		tt.types(up+up+enter, "In [1]: ", 1)
		tt.typesAtPrompt(ctrlD, "Out[1]: 'first time'", 1)
		require.Equal(t, 0, c.wait())
		info, err := os.Stat(history)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	})
}

func TestREPLGoesOnAfterAKernelDied(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		tt, c := talk(t, python)
		tt.types("import os; os._exit(9)"+enter, "In [1]: ", 1)
		tt.typesAtPrompt("'afresh'"+enter, "exited with code 9", 1)
		tt.typesAtPrompt(ctrlD, "Out[1]: 'afresh'", 1)
		require.Equal(t, 0, c.wait())
	})
}

func TestREPLLeavesTheTerminalInOrderWhenTerminated(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		tt, c := talk(t, python)
		tt.types("half", "In [1]: ", 1)
		tt.screen.waitFor(t, "half", 1)
		require.True(t, tt.isRaw())
		c.signals <- syscall.SIGTERM
		require.Equal(t, exitTerminated, c.wait())
		require.False(t, tt.isRaw())
		_, err := tt.master.WriteString("\n") // ends the read that was given up
		require.NoError(t, err)
	})
}

func TestRunAsksAPersonForInput(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	eachPython(t, func(t *testing.T, python string) {
		tt := newTerminal(t)
		s := tt.streams()
		s.out = nil
		c := start(t, s, "run", "--python", python, "-c", "print('hello', input('name? '))")
		tt.types("Bob"+enter, "name? ", 1)
		require.Equal(t, 0, c.wait())
		require.Equal(t, "hello Bob\n", c.out.String())

		c = start(t, tt.streams(), "run", "--python", python, "-c", "input('again? ')")
		tt.types("\x03", "again? ", 1)
		require.Equal(t, exitInterrupted, c.wait())

		c = start(t, tt.streams(), "run", "--python", python, "--timeout", "0.5", "-c", "input('nobody? ')")
		require.Equal(t, exitTimeout, c.wait())
		require.False(t, tt.isRaw())
		_, err := tt.master.WriteString("\n")
		require.NoError(t, err)
	})
}

func TestTracebacksAreColouredOnATerminalOnly(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	eachPython(t, func(t *testing.T, python string) {
		tt := newTerminal(t)
		c := start(t, tt.streams(), "run", "--python", python, "-c", "1 / 0")
		require.Equal(t, exitRaised, c.wait())
		require.Contains(t, tt.screen.String(), "\x1b[")
	})
}

func TestProgressIsOneLineOnATerminal(t *testing.T) {
	tt := newTerminal(t)
	p := newProgress(tt.device)
	p.line("installing " + strings.Repeat("ä", 200) + "\x1b[2J")
	p.line("done")
	p.end()
	tt.screen.waitFor(t, "\r\x1b[K", 3)
	require.NotContains(t, tt.screen.String(), "\n")
	require.NotContains(t, tt.screen.String(), "\x1b[2J")
	require.LessOrEqual(t, strings.Count(tt.screen.String(), "ä"), 100)
}

func TestREPLGoesBackToCheckpoints(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		tt, c := talk(t, python)
		tt.types("%rollback"+enter, "In [1]: ", 1)
		tt.typesAtPrompt("x = [1]"+enter, "there is no checkpoint yet", 1)
		tt.types("%checkpoint one"+enter, "In [2]: ", 1)
		tt.typesAtPrompt("x.append(2); x"+enter, "checkpoint one, ", 1)
		tt.typesAtPrompt("%rollback two"+enter, "Out[2]: [1, 2]", 1)
		tt.typesAtPrompt("%rollback"+enter, "there is no checkpoint two: the latest is one", 1)
		tt.typesAtPrompt("x + [3]"+enter, "back at checkpoint one", 1)
		tt.typesAtPrompt("import os; os._exit(9)"+enter, "Out[2]: [1, 3]", 1)
		tt.typesAtPrompt("%rollback one"+enter, "exited with code 9", 1)
		tt.typesAtPrompt("x + [4]"+enter, "back at checkpoint one", 2)
		tt.typesAtPrompt("%checkpoint --files two"+enter, "Out[2]: [1, 4]", 1)
		tt.typesAtPrompt("open('made', 'w').close(); print('f' + 'ile made')"+enter, "checkpoint two, ", 1)
		tt.typesAtPrompt("%rollback two"+enter, "file made", 1)
		tt.typesAtPrompt("__import__('os').path.exists('made')"+enter, "back at checkpoint two, files too", 1)
		tt.typesAtPrompt(ctrlD, "]: False", 1)
		require.Equal(t, 0, c.wait())
	})
}
