package server

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// The ports of E2B's own services in a sandbox. Nothing listens there: the daemon answers.
const (
	EnvdPort        = 49983
	InterpreterPort = 49999
)

// The headers by which clients name the sandbox, and the port in it, that a request is for.
const (
	SandboxHeader = "E2b-Sandbox-Id"
	PortHeader    = "E2b-Sandbox-Port"
)

// class is what kind of request it is, for bounds, figures and the router.
type class string

// The classes.
const (
	classEnvd        class = "envd"        // files and processes of a sandbox
	classInterpreter class = "interpreter" // code
	classPort        class = "port"        // any other port of a sandbox
	classSigned      class = "signed"      // a file by a signature, of a sandbox that is to be found by it
	classDaemon      class = "daemon"      // health, figures, description
	classJupyter     class = "jupyter"
	classBridge      class = "bridge" // events and files for user interfaces
	classPage        class = "page"
	classControl     class = "control"
)

// hostLabel is the first label of a host name that stands for a port of a sandbox.
var hostLabel = regexp.MustCompile(`^(\d+)-([a-z0-9]+)$`)

// sandboxID is what can be a sandbox's id. What old clients put behind a dash is nothing to us.
var sandboxID = regexp.MustCompile(`^[a-z0-9]{1,64}$`)

// targetOf finds the sandbox and the port that a request is for: by its headers, then by its host. ok is false when it is for none; an
// error says that it can't be told.
func targetOf(r *http.Request) (t fleet.Target, ok bool, err error) {
	if id := r.Header.Get(SandboxHeader); id != "" {
		id, _, _ = strings.Cut(id, "-")
		if !sandboxID.MatchString(id) {
			return t, false, fmt.Errorf("header %s is no id of a sandbox", SandboxHeader)
		}
		port := EnvdPort
		if text := r.Header.Get(PortHeader); text != "" {
			if port, ok = parsePort(text); !ok {
				return t, false, fmt.Errorf("header %s is no port: use 1 to 65535", PortHeader)
			}
		}
		return fleet.Target{ID: id, Port: port}, true, nil
	}
	label, _, _ := strings.Cut(r.Host, ".")
	label, _, _ = strings.Cut(label, ":")
	parts := hostLabel.FindStringSubmatch(strings.ToLower(label))
	if parts == nil {
		return t, false, nil
	}
	port, ok := parsePort(parts[1])
	if !ok || !sandboxID.MatchString(parts[2]) {
		return t, false, fmt.Errorf("host %.80q stands for no port of a sandbox: use PORT-ID, with 1 to 65535 as the port", r.Host)
	}
	return fleet.Target{ID: parts[2], Port: port}, true, nil
}

func parsePort(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 16)
	return int(n), err == nil && n > 0
}

// classOf is the class of a request for no sandbox, by its path. Its slashes are single.
func classOf(r *http.Request) class {
	switch path := r.URL.Path; {
	case path == "/files" && r.Header.Get("X-API-KEY") == "" && r.Header.Get("Authorization") == "":
		return classSigned
	case path == "/health", path == "/metrics", path == "/openapi.yaml":
		return classDaemon
	case isJupyter(path):
		return classJupyter
	case isBridge(path):
		return classBridge
	case path == "/" || path == "/ui" || strings.HasPrefix(path, "/ui/") || path == "/favicon.ico":
		return classPage
	}
	return classControl
}

// inPath is a path about one sandbox.
var inPath = regexp.MustCompile(`^/(?:v2/)?sandboxes/([a-z0-9]{1,64})(?:[-/]|$)`)

// sandboxInPath is the sandbox that a request about one names, for the log; "" when it names none.
func sandboxInPath(path string) string {
	if found := inPath.FindStringSubmatch(path); found != nil && found[1] != "metrics" {
		return found[1]
	}
	return ""
}

// isJupyter reports whether a path is Jupyter's: /api, or that of one sandbox, or either behind a key.
func isJupyter(path string) bool {
	if path == "/api" || strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, access.KeyPath) {
		return true
	}
	rest, ok := strings.CutPrefix(path, "/sandboxes/")
	_, rest, found := strings.Cut(rest, "/")
	return ok && found && strings.HasPrefix(rest, "jupyter/")
}

// isBridge reports whether a path is one of the bridge's: /sandboxes/{id}/events, contexts/... or workspace/...
func isBridge(path string) bool {
	rest, ok := strings.CutPrefix(path, "/sandboxes/")
	_, rest, _ = strings.Cut(rest, "/")
	part, _, _ := strings.Cut(rest, "/")
	return ok && (part == "events" || part == "contexts" || part == "workspace")
}

// classOfPort is the class of a request for a sandbox.
func classOfPort(port int) class {
	switch port {
	case EnvdPort:
		return classEnvd
	case InterpreterPort:
		return classInterpreter
	}
	return classPort
}

// singleSlashes makes "//execute" "/execute": a slash too many at the end of a client's base address must not matter. What is for a
// server in a sandbox is left as it is.
func singleSlashes(r *http.Request) {
	if !strings.Contains(r.URL.Path, "//") {
		return
	}
	r.URL.Path = squeeze(r.URL.Path)
	r.URL.RawPath = squeeze(r.URL.RawPath)
}

func squeeze(path string) string {
	var b strings.Builder
	b.Grow(len(path))
	for i := range len(path) {
		if path[i] != '/' || i == 0 || path[i-1] != '/' {
			b.WriteByte(path[i])
		}
	}
	return b.String()
}
