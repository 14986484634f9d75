package sandbox

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Config of an Engine. The zero value works: a zero field takes the value of its environment variable and then its
// default. Engine.Settings says which took effect.
//
// Names that users of the Python original know are heard too, after ours: SANDBOX_BACKEND_TYPE, SANDBOX_WORKSPACE_BASE,
// SANDBOX_PAUSED_BASE, SANDBOX_TIMEOUT, and after these the same with DSLIGHTING_ before them. SANDBOX_BACKEND names the implementation
// and can only be "ds_sandbox".
type Config struct {
	// DefaultBackend is "auto", "local" or "docker". Auto takes docker if an engine answers and has the
	// image, else local; Engine.Choice says which and why. DS_SANDBOX_BACKEND; "auto".
	DefaultBackend string
	// WorkspaceBaseDir holds the workspaces, one folder each. DS_SANDBOX_WORKSPACE_BASE;
	// "ds_sandbox_workspaces" in the system's temporary folder.
	WorkspaceBaseDir string
	// PausedBaseDir is where later versions keep the state of paused sandboxes; this one puts nothing there.
	// DS_SANDBOX_PAUSED_BASE; "ds_sandbox_paused" in the system's temporary folder.
	PausedBaseDir string
	// RuntimeDir holds sockets and connection files; its path must be short. DS_SANDBOX_RUNTIME_DIR; a
	// private folder of the user's runtime folder or of the temporary one.
	RuntimeDir string
	// Python is the interpreter of local Python kernels. DS_SANDBOX_PYTHON; see `ds-sandbox setup`.
	Python string
	// Isolation is what keeps the code of sandboxes from the rest of the machine, unless Options say otherwise: "files",
	// "none" or "container". Asking for what can't be had here is an error of Create. DS_SANDBOX_ISOLATION; the strongest that can be had,
	// see Engine.Choice.
	Isolation backends.Isolation

	// What sandboxes in containers have, unless Options.Container says otherwise; no other backend looks at it.
	//
	// Image is what they are made from: a name, or the id of a snapshot. DS_SANDBOX_IMAGE; that of `ds-sandbox image build`.
	Image string
	// AgentBinary is the file of ds-sandbox-agent that is stored in containers whose image has another one, or a folder with one for each
	// architecture. DS_SANDBOX_AGENT; what is built into this program, what the image has.
	AgentBinary string
	// Profile is "hardened" or "compatible", see package backends. DS_SANDBOX_PROFILE; "hardened".
	Profile backends.Profile
	// Runtime is one of the engine's, such as "runsc". DS_SANDBOX_RUNTIME; the engine's default.
	Runtime string
	// Network is "none", "bridge" or "allow", see package backends. DS_SANDBOX_NETWORK; "none".
	Network backends.NetworkMode

	// DefaultTimeout is how long one run may take. DS_SANDBOX_TIMEOUT, in seconds or as "90s"; 3600 s.
	DefaultTimeout time.Duration
	// DefaultTimeToLive is how long a sandbox lives. DS_SANDBOX_TIME_TO_LIVE; 24 h.
	DefaultTimeToLive time.Duration
	// CullAfter is how long a context may be idle until its interpreter is ended, unless Options say otherwise.
	// DS_SANDBOX_CULL_AFTER; NoTimeout.
	CullAfter time.Duration
	// StartTimeout is how long a kernel may take until it is ready. DS_SANDBOX_START_TIMEOUT; 60 s.
	StartTimeout time.Duration
	// MaxFrame is the largest frame accepted from a kernel, bytes. DS_SANDBOX_MAX_FRAME; 256 MiB.
	MaxFrame int64
	// JournalBytes bounds each context's Journal. DS_SANDBOX_JOURNAL_BYTES; 16 MiB.
	JournalBytes int64

	// DefaultLimits are those of a sandbox for which Options.Limits sets none; none. No variables.
	DefaultLimits backends.Limits
	// NoCgroup makes limits hold without control groups, by the limits of processes and a watchdog; see
	// Info.Enforcement. DS_SANDBOX_NO_CGROUP, "1" or "true".
	NoCgroup bool

	// NoForkServer has every interpreter started afresh. Otherwise a process that has imported Preload is kept from the second
	// sandbox on, and local Python interpreters are forks of it, which takes a fifth of the time. DS_SANDBOX_NO_FORK_SERVER.
	NoForkServer bool
	// Preload are the modules that the fork server imports, separated by commas; those that are missing are left out. "none" is none.
	// DS_SANDBOX_PRELOAD; "numpy,pandas,matplotlib.pyplot".
	Preload string
	// MinSpares and MaxSpares bound how many sandboxes are kept ready for Create to give away; between them it is as many as were
	// asked for lately. They grow one at a time while nothing else starts. Only sandboxes with the default isolation, limits
	// and workspace come from there; on docker also those with limits and a Container that were asked for in the last minute, of
	// eight kinds at most, and MinSpares is of the default one. DS_SANDBOX_MIN_SPARES, DS_SANDBOX_MAX_SPARES; 0 and 4. NoSpares is none.
	MinSpares, MaxSpares int

	// Trace sees every message sent ("->") and received ("<-") on kernels' sockets, in the order of the wire. It must
	// not block.
	Trace func(direction string, m *messaging.Message)
	// Logger hears what the engine does and what it tolerates; nil discards.
	Logger *slog.Logger
}

// The defaults of Config.
const (
	DefaultTimeout      = 3600 * time.Second
	DefaultTimeToLive   = 24 * time.Hour
	DefaultStartTimeout = 60 * time.Second
	DefaultMaxFrame     = 256 << 20
	DefaultJournalBytes = 16 << 20
	DefaultPreload      = "numpy,pandas,matplotlib.pyplot"
	DefaultMaxSpares    = 4
)

// NoSpares as Config.MaxSpares keeps no sandboxes ready.
const NoSpares = -1

// ParseDuration reads a duration as people write it for us: "90" and "0.5" are seconds, "90s" and "1h30m" as Go has
// them, "none" is NoTimeout.
func ParseDuration(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	if text == "none" {
		return NoTimeout, nil
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds > -1e9 && seconds < 1e9 {
		return time.Duration(seconds * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is no duration: use seconds, or a form like 90s or 1h30m, or none", text)
	}
	return d, nil
}

// LoadConfig reads a configuration file: JSON with the keys of the Python original, default_backend,
// workspace_base_dir, default_timeout (seconds), and ours, paused_base_dir, runtime_dir, python, isolation, time_to_live, cull_after and
// start_timeout (seconds), max_frame, journal_bytes, no_fork_server, preload, min_spares and max_spares (-1
// for none), image, agent_binary, profile, runtime and network. use_jupyter is accepted and has no effect, because every run is a
// Jupyter run. An unknown key is an error that names it.
func LoadConfig(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("sandbox: configuration: %w", err)
	}
	var file struct {
		DefaultBackend   string  `json:"default_backend"`
		WorkspaceBaseDir string  `json:"workspace_base_dir"`
		PausedBaseDir    string  `json:"paused_base_dir"`
		DefaultTimeout   float64 `json:"default_timeout"`
		UseJupyter       any     `json:"use_jupyter"`
		RuntimeDir       string  `json:"runtime_dir"`
		Python           string  `json:"python"`
		Isolation        string  `json:"isolation"`
		TimeToLive       float64 `json:"time_to_live"`
		CullAfter        float64 `json:"cull_after"`
		StartTimeout     float64 `json:"start_timeout"`
		MaxFrame         int64   `json:"max_frame"`
		JournalBytes     int64   `json:"journal_bytes"`
		NoForkServer     bool    `json:"no_fork_server"`
		Preload          string  `json:"preload"`
		MinSpares        int     `json:"min_spares"`
		MaxSpares        int     `json:"max_spares"`
		Image            string  `json:"image"`
		AgentBinary      string  `json:"agent_binary"`
		Profile          string  `json:"profile"`
		Runtime          string  `json:"runtime"`
		Network          string  `json:"network"`
	}
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		return Config{}, fmt.Errorf("sandbox: configuration %s: %w", path, err)
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	return Config{
		DefaultBackend: file.DefaultBackend, WorkspaceBaseDir: file.WorkspaceBaseDir, PausedBaseDir: file.PausedBaseDir,
		RuntimeDir: file.RuntimeDir, Python: file.Python, Isolation: backends.Isolation(file.Isolation),
		DefaultTimeout: seconds(file.DefaultTimeout), DefaultTimeToLive: seconds(file.TimeToLive),
		CullAfter: seconds(file.CullAfter), StartTimeout: seconds(file.StartTimeout), MaxFrame: file.MaxFrame, JournalBytes: file.JournalBytes,
		NoForkServer: file.NoForkServer, Preload: file.Preload, MinSpares: file.MinSpares, MaxSpares: file.MaxSpares,
		Image: file.Image, AgentBinary: file.AgentBinary, Profile: backends.Profile(file.Profile), Runtime: file.Runtime,
		Network: backends.NetworkMode(file.Network),
	}, nil
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// checkEnv refuses what no process can be given.
func checkEnv(env map[string]string) error {
	for name, value := range env {
		if !variableName.MatchString(name) {
			return fmt.Errorf("%w %q: use letters, digits and _, not beginning with a digit", ErrInvalidEnv, name)
		}
		if strings.ContainsRune(value, 0) {
			return fmt.Errorf("%w %s: its value holds a NUL byte, which no process can be given", ErrInvalidEnv, name)
		}
	}
	return nil
}
