package docker

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
)

// compactSeccomp is which system calls a container may make, as an engine takes it: Docker's own profile made narrower, see narrowed;
// empty on a client other than Linux, where the library has none: the engines that these use are late ones, and nearly as narrow.
var compactSeccomp = sync.OnceValue(func() string {
	profile, err := json.Marshal(narrowed())
	if err != nil || string(profile) == "null" {
		return ""
	}
	return string(profile)
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
	if profile := compactSeccomp(); profile != "" {
		return []string{"seccomp=" + profile}
	}
	return nil
}
