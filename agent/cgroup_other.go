//go:build !linux

package agent

import (
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// There are no control groups but on Linux.
type (
	hierarchy struct{}
	cgroup    struct{}
)

func hierarchies() []hierarchy                         { return nil }
func makeCgroup([]hierarchy, string) *cgroup           { return nil }
func (*cgroup) members() []string                      { return nil }
func (*cgroup) add(int) error                          { return nil }
func (*cgroup) freezer() string                        { return "" }
func (*cgroup) cpu() (time.Duration, bool)             { return 0, false }
func (*cgroup) memory() (int64, bool)                  { return 0, false }
func (*cgroup) kills() (int64, bool)                   { return 0, false }
func (*cgroup) shortages() (int64, bool)               { return 0, false }
func (*cgroup) refusals() (int64, bool)                { return 0, false }
func enclosingCgroup(string) *cgroup                   { return nil }
func beforeUs() int                                    { return 0 }
func setRank(int, int)                                 {}
func (*cgroup) remove() error                          { return nil }
func (*cgroup) limit(backends.LimitName) (int64, bool) { return 0, false }
func (*cgroup) apply(backends.Limits) (map[backends.LimitName]backends.Enforcer, error) {
	return nil, nil
}
