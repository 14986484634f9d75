package agent

import (
	"maps"
	"os"
	"path/filepath"
)

// PlainStreamsVariable set to 1 has Python kernels do with the streams, the iopub thread and the shell that ipykernel has.
const PlainStreamsVariable = "DS_SANDBOX_PLAIN_STREAMS"

// PathVariable holds the folders of the sandbox's own Python, as PATH begins with them: a login shell's profile hides them.
const PathVariable = "DS_SANDBOX_PATH"

// noBytecode keeps Python from writing bytecode beside modules; a fork heeds it too.
const noBytecode = "PYTHONDONTWRITEBYTECODE"

// environment is what a process of a sandbox gets: little, and nothing of the host program's own but the path, language,
// terminal, time zone, where certificates are and that switch.
func (p *Place) environment(python *overlay, extra ...map[string]string) map[string]string {
	private := func(name string) string { return filepath.Join(p.Private, name) }
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/bin:/usr/bin:/bin"
	}
	own := python.bin + ":" + filepath.Dir(python.shared)
	env := map[string]string{
		"PATH": own + ":" + path,
		"HOME": p.Home,
		"LANG": "C.UTF-8",
		"TERM": "xterm-256color",

		"VIRTUAL_ENV": python.dir,
		// Caches and settings go beside the workspace, so that this holds only what the code put there.
		"TMPDIR":             private("tmp"),
		"IPYTHONDIR":         private("ipython"),
		"HISTFILE":           private("history"),
		"MPLCONFIGDIR":       private("matplotlib"),
		"XDG_CACHE_HOME":     private("cache"),
		"JUPYTER_CONFIG_DIR": private("jupyter"),
		"JUPYTER_DATA_DIR":   private("jupyter"),
		// Debian's debugger warns of frozen modules on standard error.
		"PYDEVD_DISABLE_FILE_VALIDATION": "1",
	}
	if p.Home != p.Workspace {
		// The workspace is a folder of the user's, and no place for the bytecode of what is imported from it. Not
		// PYTHONPYCACHEPREFIX: with that, Python takes no notice of the bytecode that packages were installed with.
		env[noBytecode] = "1"
	}
	env[PathVariable] = own
	if p.User != "" {
		env["USER"], env["LOGNAME"] = p.User, p.User
	}
	for _, name := range []string{"LANG", "TERM", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", PlainStreamsVariable} {
		if value := os.Getenv(name); value != "" {
			env[name] = value
		}
	}
	maps.Copy(env, p.Env)
	for _, e := range extra {
		maps.Copy(env, e)
	}
	return env
}
