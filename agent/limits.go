package agent

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// limiter is an instance's limits and what makes them hold.
type limiter struct {
	limits  backends.Limits
	group   *cgroup // nil without one
	outer   *cgroup // that we are in ourselves, to be read; nil without one
	by      map[backends.LimitName]backends.Enforcer
	account account
	program *programLimits // of each program that is started; nil when none
	// rank is each program's when the system has to kill; 0 for that of ours.
	rank int
}

// programLimits is what a program is started with, as the keeper reads it.
type programLimits struct {
	Groups  []string         `json:"groups,omitempty"`  // files that it writes 0 to
	Rlimits map[string]int64 `json:"rlimits,omitempty"` // by the system's name
}

// bind prepares limits. A limit that nothing can hold is an error.
func (a *Agent) bind(l backends.Limits, mark string) (*limiter, error) {
	b := &limiter{limits: l, by: make(map[backends.LimitName]backends.Enforcer)}
	if a.config.Enclosure != "" {
		b.outer = enclosingCgroup(a.config.Enclosure)
		b.rank = beforeUs()
	}
	if l == (backends.Limits{}) {
		return b, nil
	}
	if err := l.Check(); err != nil {
		return nil, err
	}
	if !a.config.NoCgroup && mark != "" {
		b.group = makeCgroup(hierarchies(), mark)
	}
	if err := b.assign(); err != nil {
		return nil, errors.Join(err, b.release())
	}
	return b, nil
}

// assign finds what holds each limit: the group, else the limits of processes, else the watchdog.
func (b *limiter) assign() error {
	l, program := b.limits, &programLimits{Rlimits: make(map[string]int64)}
	if b.group != nil {
		done, err := b.group.apply(l)
		if err != nil {
			return err
		}
		b.by = done
		program.Groups = b.group.members()
	}
	if l.FileSize > 0 {
		program.Rlimits["RLIMIT_FSIZE"], b.by[backends.LimitFileSize] = l.FileSize, backends.ByRlimit
	}
	if l.OpenFiles > 0 {
		program.Rlimits["RLIMIT_NOFILE"], b.by[backends.LimitOpenFiles] = int64(l.OpenFiles), backends.ByRlimit
	}
	if l.Disk > 0 {
		b.by[backends.LimitDisk] = backends.ByWatchdog
	}
	if l.CPUTime > 0 {
		b.by[backends.LimitCPUTime] = backends.ByWatchdog
		// In case that nobody watches: the limit of one process stands a little above that of all.
		program.Rlimits["RLIMIT_CPU"] = int64(l.CPUTime/time.Second) + 2
	}
	if l.Memory > 0 {
		b.rank = beforeUs()
		if b.by[backends.LimitMemory] == "" {
			b.by[backends.LimitMemory] = backends.ByWatchdog
		}
	}
	if l.Processes > 0 && b.by[backends.LimitProcesses] == "" {
		b.by[backends.LimitProcesses] = backends.ByWatchdog
	}
	b.program = program
	return b.possible()
}

// possible refuses what nothing here can hold.
func (b *limiter) possible() error {
	if b.limits.CPUs > 0 && b.by[backends.LimitCPUs] == "" {
		return fmt.Errorf("limit cpus: %w: it takes a control group, and none may be written here; run as root or in a delegated "+
			"group (systemd: Delegate=yes), or set no Limits.CPUs", backends.ErrUnsupported)
	}
	if canTakeCensus() {
		return nil
	}
	for _, name := range []backends.LimitName{backends.LimitMemory, backends.LimitProcesses, backends.LimitCPUTime} {
		if b.by[name] == backends.ByWatchdog {
			return fmt.Errorf("limit %s: %w: it takes Linux with the children of processes in /proc, this is %s; leave it unset",
				name, backends.ErrUnsupported, runtime.GOOS)
		}
	}
	return nil
}

// watched reports whether the watchdog holds a limit.
func (b *limiter) watched(name backends.LimitName) bool { return b.by[name] == backends.ByWatchdog }

// needsWatchdog reports whether any limit needs one. The group's limit of processes does for what goes on forking, that of memory to
// tell which ends it explains.
func (b *limiter) needsWatchdog() bool {
	for _, by := range b.by {
		if by == backends.ByWatchdog {
			return true
		}
	}
	return b.limits.Processes > 0 || b.limits.Memory > 0
}

// release removes the group, whose processes have ended.
func (b *limiter) release() error {
	if b.group == nil {
		return nil
	}
	return b.group.remove()
}

// judge tells which limit ended a process, from how it ended.
func (b *limiter) judge(status backends.ExitStatus) *backends.LimitError {
	switch {
	case status.Signal == "SIGXCPU" && b.limits.CPUTime > 0:
		return &backends.LimitError{Limit: backends.LimitCPUTime, Allowed: int64(b.limits.CPUTime)}
	case status.Signal == "SIGXFSZ" && b.limits.FileSize > 0:
		return &backends.LimitError{Limit: backends.LimitFileSize, Allowed: b.limits.FileSize}
	}
	return nil
}
