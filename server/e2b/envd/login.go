package envd

import (
	"path"
	"slices"
)

// A login shell's profile sets PATH anew, as Debian's does, and hides the sandbox's own Python behind the system's. So a script for one
// begins with putting it back, and an interactive one does that before its first prompt. The agent says in DS_SANDBOX_PATH
// what belongs there.
const (
	restorePath    = `PATH="${DS_SANDBOX_PATH:+$DS_SANDBOX_PATH:}$PATH"; `
	restoreAtStart = restorePath + `unset PROMPT_COMMAND`
)

// loginShell changes arguments and variables of a login shell of bash so; those of other programs stay.
func loginShell(args []string, env map[string]string) []string {
	if path.Base(args[0]) != "bash" || !slices.Contains(args[1:], "-l") {
		return args
	}
	at := slices.Index(args, "-c")
	if at < 0 {
		if slices.Contains(args[1:], "-i") && env["PROMPT_COMMAND"] == "" {
			env["PROMPT_COMMAND"] = restoreAtStart
		}
		return args
	}
	if at+1 >= len(args) {
		return args
	}
	args = slices.Clone(args)
	args[at+1] = restorePath + args[at+1]
	return args
}
