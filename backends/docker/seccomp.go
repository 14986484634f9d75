package docker

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"slices"
	"strings"
	"sync"
)

// seccompProfile is which system calls a container may make: Docker's own profile (github.com/moby/profiles, v0.3.0, Apache-2.0) made
// narrower in two ways.
//
// Sockets are of the families unix, IPv4, IPv6 and of netlink's routes and socket diagnosis, told by equality, which no upper half of a
// register gets around. Engines before 23 admit AF_VSOCK, which knows no network namespace: in a virtual machine it reaches the
// hypervisor's machine from a container without any network. Netlink's audit says that it is not there, so that sudo, without the
// capability to write the machine's audit log, does not complain.
//
// 32-bit programs do not run: their socketcall passes its arguments where no filter sees them.
//
//go:embed seccomp.json
var seccompProfile []byte

var compactSeccomp = sync.OnceValue(func() string {
	var buf bytes.Buffer
	if err := json.Compact(&buf, seccompProfile); err != nil {
		panic(err) // a test compiles it
	}
	return buf.String()
})

// seccompOptions are the security options for the profile. An engine that can't filter refuses one, and an engine whose owner has
// given it a profile of his own keeps that.
func (e *engine) seccompOptions() []string {
	at := slices.IndexFunc(e.info.SecurityOptions, func(o string) bool { return strings.HasPrefix(o, "name=seccomp") })
	if at < 0 {
		return nil
	}
	for field := range strings.SplitSeq(e.info.SecurityOptions[at], ",") {
		profile, ok := strings.CutPrefix(field, "profile=")
		if ok && profile != "default" && profile != "builtin" && profile != "unconfined" {
			return nil
		}
	}
	return []string{"seccomp=" + compactSeccomp()}
}
