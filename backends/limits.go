package backends

import (
	"context"
	"fmt"
	"time"
)

// Limits bound what an instance may use, all its kernels and commands together where a field does not say otherwise. A
// zero field is no limit. A limit that can't be applied makes Create fail with ErrUnsupported. What enforces each, and with
// what lag, Instance.Enforcement tells.
type Limits struct {
	// Memory in bytes. The largest process is killed when the limit is reached.
	Memory int64 `json:"memory,omitempty"`
	// CPUs is a share of the machine: 1.5 is one and a half processors. What wants more is slowed down.
	CPUs float64 `json:"cpus,omitempty"`
	// CPUTime, user and system, of the instance's whole life. Everything is killed when it is used up, and nothing more starts.
	CPUTime time.Duration `json:"cpu_time,omitempty"`
	// Processes counts threads too, as the system does: an idle Python kernel has about ten. Forks fail at the limit
	// where the system can refuse them. Everything is killed when the code goes on forking, or where it can't.
	Processes int `json:"processes,omitempty"`
	// FileSize of any one file that is written, in bytes. Writes beyond it fail (EFBIG) or kill the writer (SIGXFSZ).
	FileSize int64 `json:"file_size,omitempty"`
	// OpenFiles of any one process. Opening more fails (EMFILE). A Python kernel needs about 60.
	OpenFiles int `json:"open_files,omitempty"`
	// Disk that the workspace and the instance's own temporary files take, in bytes. Everything is killed when it is
	// exceeded, and again when it grows further; the files stay.
	Disk int64 `json:"disk,omitempty"`
}

// Check reports figures that can be no limit, by name.
func (l Limits) Check() error {
	for name, n := range map[LimitName]int64{
		LimitMemory: l.Memory, LimitCPUTime: int64(l.CPUTime), LimitProcesses: int64(l.Processes),
		LimitFileSize: l.FileSize, LimitOpenFiles: int64(l.OpenFiles), LimitDisk: l.Disk,
	} {
		if n < 0 {
			return fmt.Errorf("limit %s is %d: use a positive one, or 0 for none", name, n)
		}
	}
	if !(l.CPUs >= 0 && l.CPUs < 1e6) { // not a number neither
		return fmt.Errorf("limit cpus is %v: use a number of processors, or 0 for none", l.CPUs)
	}
	return nil
}

// LimitName names a limit in messages and figures.
type LimitName string

// The names of the fields of Limits.
const (
	LimitMemory    LimitName = "memory"
	LimitCPUs      LimitName = "cpus"
	LimitCPUTime   LimitName = "cpu time"
	LimitProcesses LimitName = "processes"
	LimitFileSize  LimitName = "file size"
	LimitOpenFiles LimitName = "open files"
	LimitDisk      LimitName = "disk"
)

// Enforcer names what makes a limit hold.
type Enforcer string

// The enforcers, from the surest to the least.
const (
	ByCgroup2  Enforcer = "cgroup v2" // the system, at once
	ByCgroup1  Enforcer = "cgroup v1" // the system, at once
	ByRlimit   Enforcer = "rlimit"    // the system, at once
	ByQuota    Enforcer = "quota"     // the engine's storage, at once; and the watchdog, which says so
	ByWatchdog Enforcer = "watchdog"  // figures taken every 20 to 250 ms while code works, every second while it idles
)

// LimitError says that a limit ended a process, or keeps one from starting.
type LimitError struct {
	Limit   LimitName `json:"limit"`
	Allowed int64     `json:"allowed"`        // bytes, nanoseconds of CPU time, or a count
	Used    int64     `json:"used"`           // when it was seen; 0 if unknown
	Note    string    `json:"note,omitempty"` // what else there is to say
}

func (e *LimitError) Error() string {
	text := fmt.Sprintf("%s limit reached: %s allowed", e.Limit, e.figure(e.Allowed))
	if e.Used > 0 {
		text += ", " + e.figure(e.Used) + " used"
	}
	if e.Note != "" {
		text += ", " + e.Note
	}
	return text + "; " + e.Remedy()
}

// Remedy says what to do about it.
func (e *LimitError) Remedy() string {
	switch e.Limit {
	case LimitMemory:
		return "use less memory at a time, or raise Limits.Memory"
	case LimitCPUTime:
		return "use another sandbox, or raise Limits.CPUTime"
	case LimitProcesses:
		return "start fewer processes and threads, or raise Limits.Processes"
	case LimitFileSize:
		return "write smaller files, or raise Limits.FileSize"
	case LimitDisk:
		return "remove files, or raise Limits.Disk"
	}
	return fmt.Sprintf("use less, or raise the limit of %s", e.Limit)
}

func (e *LimitError) figure(n int64) string {
	switch e.Limit {
	case LimitMemory, LimitFileSize, LimitDisk:
		if n >= 10<<20 {
			return fmt.Sprintf("%d MiB", n>>20)
		}
		return fmt.Sprintf("%d bytes", n)
	case LimitCPUTime:
		return time.Duration(n).Round(10 * time.Millisecond).String()
	}
	return fmt.Sprint(n)
}

// Stats are what an instance uses at one moment.
type Stats struct {
	Time      time.Time     `json:"time"`
	CPU       time.Duration `json:"cpu"`       // user and system time of all processes since the instance was made
	Memory    int64         `json:"memory"`    // of all processes, bytes; pages that processes share count once or, without a cgroup, for each
	Processes int           `json:"processes"` // that live, without those that watch over the instance
	Threads   int           `json:"threads"`   // of these
	Disk      int64         `json:"disk"`      // that the workspace and the instance's own temporary files take, bytes
	Files     int           `json:"files"`     // and other entries of the workspace
	// DiskPartial says that there is more on disk than was counted.
	DiskPartial bool `json:"disk_partial,omitempty"`
	// DiskTime is when Disk and Files were counted; that takes long where there are many, so they may be some seconds old.
	DiskTime time.Time `json:"disk_time"`
}

// Pauser is an instance that can stop all its processes and let them go on. Both calls are idempotent.
type Pauser interface {
	// Pause stops every process; nothing runs when it returns, and nothing can be started: ErrPaused. Destroy works.
	Pause(ctx context.Context) error
	// Resume lets them go on.
	Resume(ctx context.Context) error
}
