//go:build !linux

package agent

import (
	"fmt"
	"net/netip"
	"runtime"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// listeners refuses: whose a port is can't be told here.
func (in *Instance) listeners(*keeper, netip.AddrPort) (string, error) {
	return "", fmt.Errorf("ports of local sandboxes: %w: it takes Linux, this is %s; use the docker backend",
		backends.ErrUnsupported, runtime.GOOS)
}
