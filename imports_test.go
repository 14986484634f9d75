package dssandbox_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/ds-sandbox/ds-sandbox/"

// allowed says what each package of ours may import of ours: only what is below it.
var allowed = map[string]string{
	"messaging":            "",
	"messaging/zmtp":       "messaging",
	"images":               "",
	"backends":             "messaging",
	"agent":                "messaging messaging/zmtp backends agent/archive",
	"agent/archive":        "backends",
	"agent/agentpb":        "messaging backends",
	"agent/daemon":         "messaging messaging/zmtp backends agent agent/agentpb",
	"agent/remote":         "messaging messaging/zmtp backends agent/agentpb",
	"cmd/ds-sandbox-agent": "agent/agentpb agent/daemon agent/gatekeeper",
	"agent/netrules":       "",
	"agent/firewall":       "agent/netrules",
	"agent/resolver":       "agent/netrules",
	"agent/gatekeeper":     "agent/netrules agent/firewall agent/resolver",
	"backends/local":       "messaging backends agent backends/local/pyenv",
	"backends/local/pyenv": "agent images",

	"backends/docker":             "messaging backends images agent/agentpb agent/remote backends/docker/agentbinary backends/docker/guard",
	"backends/docker/agentbinary": "",
	"backends/docker/network":     "backends agent/netrules",
	"backends/docker/guard":       "backends agent/netrules backends/docker/network",
	"backends/docker/dockertest":  "backends/docker backends/docker/agentbinary",

	"backends/backendtest": "messaging backends agent agent/archive",
	"kernel":               "messaging messaging/zmtp backends",
	"kernel/kerneltest":    "messaging messaging/zmtp",
	"sandbox":              "messaging backends agent/archive backends/local backends/local/pyenv backends/docker kernel",
	"notebook":             "messaging backends kernel sandbox",
	"report":               "notebook",

	"server":                 "backends sandbox server/access server/fault server/fleet server/bridge server/ui server/jupyter server/e2b",
	"server/e2b":             "server/access server/fleet server/e2b/control server/e2b/envd server/e2b/interpreter server/e2b/traffic",
	"server/fleet":           "backends sandbox",
	"server/access":          "server/fleet",
	"server/fault":           "backends kernel sandbox server/fleet server/access",
	"server/bridge":          "backends messaging sandbox server/fault server/fleet",
	"server/jupyter":         "messaging backends kernel sandbox server/access server/fault server/fleet",
	"server/e2b/control":     "backends sandbox server/access server/fault server/fleet",
	"server/e2b/envd":        "backends sandbox server/access server/fault server/fleet server/e2b/envd/envdpb",
	"server/e2b/interpreter": "backends kernel sandbox server/fault server/fleet",
	"server/e2b/traffic":     "backends sandbox server/access server/fault server/fleet",
	"server/ui":              "",
	"server/ui/uitest":       "backends/backendtest sandbox server",
}

// homes says which outside packages are imported in one folder only.
var homes = map[string]string{
	"github.com/go-zeromq/zmq4":    "messaging/zmtp",
	"github.com/docker/docker":     "backends/docker",
	"github.com/gorilla/websocket": "server",
	"github.com/google/nftables":   "agent/firewall",
	"github.com/mdlayher/netlink":  "agent/firewall",
}

func TestPackagesImportDownwardOnly(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	require.NoError(t, err)
	checked := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name := strings.TrimPrefix(fields[0], module)
		rule, limited := allowed[name]
		for _, imported := range fields[1:] {
			if ours, ok := strings.CutPrefix(imported, module); ok && limited {
				require.Contains(t, strings.Fields(rule), ours, "%s may not import it", name)
			}
			for outside, home := range homes {
				if name == "bench" { // a client of ours, of the other side of each wire
					break
				}
				if imported == outside || strings.HasPrefix(imported, outside+"/") {
					require.True(t, name == home || strings.HasPrefix(name, home+"/"), "%s imports %s, which belongs in %s", name, imported, home)
				}
			}
			// Tests are not listed in .Imports; testify and goleak serve these and the test packages.
			if strings.Contains(imported, "stretchr/testify") || strings.Contains(imported, "goleak") {
				require.True(t, strings.HasSuffix(name, "test"), "%s imports %s", name, imported)
			}
		}
		if limited {
			checked++
		}
	}
	require.Equal(t, len(allowed), checked, "a package of the rules is gone, or new")
}
