package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Setting is one setting of an engine and where it came from.
type Setting struct {
	Name   string `json:"name"`   // of the field of Config
	Value  string `json:"value"`  // empty when the backend chooses
	Source string `json:"source"` // "config", "environment NAME" or "default"
}

// Settings tells each setting of the engine, and which of its sources took effect.
func (e *Engine) Settings() []Setting {
	out := make([]Setting, len(e.settings))
	copy(out, e.settings)
	for i := range out {
		switch out[i].Name { // what was chosen by now
		case "Python":
			out[i].Value = e.config.Python
		case "Isolation":
			out[i].Value = string(e.choice.Isolation)
		}
	}
	return out
}

// implementation is the name of this program among those that SANDBOX_BACKEND may ask for.
const implementation = "ds_sandbox"

// complete fills in the environment's values and the defaults. A variable of ours wins over one that the Python original has,
// and that over the same with DSLIGHTING_ before it.
func (c Config) complete() (Config, []Setting, error) {
	var r resolution
	var asked string
	resolve(&r, "Implementation", &asked, implementation, readImplementation, known("SANDBOX_BACKEND")...)
	resolve(&r, "DefaultBackend", &c.DefaultBackend, "auto", readBackend, also("DS_SANDBOX_BACKEND", "SANDBOX_BACKEND_TYPE")...)
	resolve(&r, "WorkspaceBaseDir", &c.WorkspaceBaseDir, filepath.Join(os.TempDir(), "ds_sandbox_workspaces"), readText,
		also("DS_SANDBOX_WORKSPACE_BASE", "SANDBOX_WORKSPACE_BASE")...)
	resolve(&r, "PausedBaseDir", &c.PausedBaseDir, filepath.Join(os.TempDir(), "ds_sandbox_paused"), readText,
		also("DS_SANDBOX_PAUSED_BASE", "SANDBOX_PAUSED_BASE")...)
	resolve(&r, "RuntimeDir", &c.RuntimeDir, "", readText, "DS_SANDBOX_RUNTIME_DIR")
	resolve(&r, "Python", &c.Python, "", readText, "DS_SANDBOX_PYTHON")
	resolve(&r, "Isolation", &c.Isolation, "", readIsolation, "DS_SANDBOX_ISOLATION")
	resolve(&r, "Image", &c.Image, "", readText, "DS_SANDBOX_IMAGE")
	resolve(&r, "AgentBinary", &c.AgentBinary, "", readText, "DS_SANDBOX_AGENT")
	resolve(&r, "Profile", &c.Profile, "", readProfile, "DS_SANDBOX_PROFILE")
	resolve(&r, "Runtime", &c.Runtime, "", readText, "DS_SANDBOX_RUNTIME")
	resolve(&r, "Network", &c.Network, "", readNetwork, "DS_SANDBOX_NETWORK")
	resolveSwitch(&r, "NoCgroup", &c.NoCgroup, "DS_SANDBOX_NO_CGROUP")
	resolve(&r, "DefaultTimeout", &c.DefaultTimeout, DefaultTimeout, ParseDuration, also("DS_SANDBOX_TIMEOUT", "SANDBOX_TIMEOUT")...)
	resolve(&r, "DefaultTimeToLive", &c.DefaultTimeToLive, DefaultTimeToLive, ParseDuration, "DS_SANDBOX_TIME_TO_LIVE")
	resolve(&r, "CullAfter", &c.CullAfter, NoTimeout, ParseDuration, "DS_SANDBOX_CULL_AFTER")
	resolve(&r, "StartTimeout", &c.StartTimeout, DefaultStartTimeout, ParseDuration, "DS_SANDBOX_START_TIMEOUT")
	resolve(&r, "MaxFrame", &c.MaxFrame, DefaultMaxFrame, readSize, "DS_SANDBOX_MAX_FRAME")
	resolve(&r, "JournalBytes", &c.JournalBytes, DefaultJournalBytes, readSize, "DS_SANDBOX_JOURNAL_BYTES")
	resolveSwitch(&r, "NoForkServer", &c.NoForkServer, "DS_SANDBOX_NO_FORK_SERVER")
	resolve(&r, "Preload", &c.Preload, DefaultPreload, readModules, "DS_SANDBOX_PRELOAD")
	if _, err := readModules(c.Preload); err != nil {
		r.errs = append(r.errs, fmt.Errorf("Config.Preload: %w", err))
	}
	resolveCount(&r, "MinSpares", &c.MinSpares, 0, "DS_SANDBOX_MIN_SPARES")
	resolveCount(&r, "MaxSpares", &c.MaxSpares, max(DefaultMaxSpares, c.MinSpares), "DS_SANDBOX_MAX_SPARES")
	return c, r.settings, errors.Join(r.errs...)
}

// resolveCount is resolve of a number that may be NoSpares.
func resolveCount(r *resolution, name string, field *int, fallback int, variable string) {
	setting := Setting{Name: name, Source: "config"}
	if *field == 0 {
		*field, setting.Source = fallback, "default"
		if text := strings.TrimSpace(os.Getenv(variable)); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil {
				r.errs = append(r.errs, fmt.Errorf("%s: %q is no number", variable, text))
				return
			}
			*field, setting.Source = n, "environment "+variable
		}
	}
	if *field < NoSpares || *field > maxSpares {
		r.errs = append(r.errs, fmt.Errorf("%s: %d: use 0 to %d, or %d for none", name, *field, maxSpares, NoSpares))
	}
	setting.Value = strconv.Itoa(*field)
	r.settings = append(r.settings, setting)
}

// moduleName is what an import statement takes.
var moduleName = regexp.MustCompile(`^[\pL_][\pL\pN_]*(\.[\pL_][\pL\pN_]*)*$`)

// noModules as Config.Preload is none.
const noModules = "none"

func readModules(text string) (string, error) {
	for _, name := range splitModules(text) {
		if !moduleName.MatchString(name) {
			return "", fmt.Errorf("%q is no name of a module: use names separated by commas, or none", name)
		}
	}
	return text, nil
}

func splitModules(text string) []string {
	if text == noModules {
		return nil
	}
	var names []string
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// known are a name of the Python original and the same for one program.
func known(name string) []string { return []string{name, "DSLIGHTING_" + name} }

// also is known with a name of ours before it.
func also(ours, name string) []string { return append([]string{ours}, known(name)...) }

// resolution is how a Config becomes complete.
type resolution struct {
	settings []Setting
	errs     []error
}

// resolve sets a field that is zero to what the first of the variables says that is set, else to its default.
func resolve[T cmp.Ordered](r *resolution, name string, field *T, fallback T, read func(string) (T, error), variables ...string) {
	var zero T
	source, where := "config", "Config."+name
	if *field == zero {
		*field, source = fallback, "default"
		for _, variable := range variables {
			text := strings.TrimSpace(os.Getenv(variable))
			if text == "" {
				continue
			}
			value, err := read(text)
			if err != nil {
				r.errs = append(r.errs, fmt.Errorf("%s: %w", variable, err))
				return
			}
			*field, source, where = value, "environment "+variable, variable
			break
		}
	}
	if source != "default" && *field <= zero {
		r.errs = append(r.errs, fmt.Errorf("%s: %v: use a positive one", where, *field))
	}
	text := fmt.Sprint(*field)
	if d, ok := any(*field).(time.Duration); ok && d == NoTimeout {
		text = "none"
	}
	r.settings = append(r.settings, Setting{Name: name, Value: text, Source: source})
}

// resolveSwitch is resolve of a switch, which is off by default.
func resolveSwitch(r *resolution, name string, field *bool, variable string) {
	source := "default"
	if *field {
		source = "config"
	} else if text := strings.TrimSpace(os.Getenv(variable)); text != "" {
		on, err := strconv.ParseBool(text)
		if err != nil {
			r.errs = append(r.errs, fmt.Errorf("%s: %q is no switch: use true or false", variable, text))
			return
		}
		*field, source = on, "environment "+variable
	}
	r.settings = append(r.settings, Setting{Name: name, Value: strconv.FormatBool(*field), Source: source})
}

func readText(text string) (string, error) { return text, nil }

func readImplementation(text string) (string, error) {
	if text != implementation {
		return "", fmt.Errorf("%q names another implementation of sandboxes: the one that is known here is %s; where sandboxes live is "+
			"said by SANDBOX_BACKEND_TYPE (auto, local or docker)", text, implementation)
	}
	return text, nil
}

func readBackend(text string) (string, error) {
	switch text {
	case "auto", "local", "docker":
		return text, nil
	}
	return "", fmt.Errorf("backend %q is not known: use auto, local or docker", text)
}

func readIsolation(text string) (backends.Isolation, error) {
	switch i := backends.Isolation(text); i {
	case backends.IsolationNone, backends.IsolationFiles, backends.IsolationContainer:
		return i, nil
	}
	return "", fmt.Errorf("isolation %q is not known: use container, files or none", text)
}

func readProfile(text string) (backends.Profile, error) {
	switch p := backends.Profile(text); p {
	case backends.ProfileHardened, backends.ProfileCompatible:
		return p, nil
	}
	return "", fmt.Errorf("profile %q is not known: use hardened or compatible", text)
}

func readNetwork(text string) (backends.NetworkMode, error) {
	switch m := backends.NetworkMode(text); m {
	case backends.NetworkNone, backends.NetworkBridge, backends.NetworkAllow:
		return m, nil
	}
	return "", fmt.Errorf("network %q is not known: use none, bridge or allow", text)
}

func readSize(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no size: use a number of bytes", text)
	}
	return n, nil
}
