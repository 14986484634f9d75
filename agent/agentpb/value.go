package agentpb

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// NewExitStatus is how a process ended.
func NewExitStatus(s backends.ExitStatus) *ExitStatus {
	x := &ExitStatus{Code: int32(s.Code), Signal: s.Signal}
	if !s.Time.IsZero() {
		x.Time = s.Time.UnixNano()
	}
	if s.Limit != nil {
		x.Limit = NewLimit(s.Limit)
	}
	x.LimitsHit = newLimitsHit(s.LimitsHit)
	return x
}

// maxLimitsHit is how many limits there are at most, and some more.
const maxLimitsHit = 32

func newLimitsHit(hit []*backends.LimitError) []*Limit {
	var out []*Limit
	for _, l := range hit[:min(len(hit), maxLimitsHit)] {
		out = append(out, NewLimit(l))
	}
	return out
}

func limitsHit(hit []*Limit) []*backends.LimitError {
	var out []*backends.LimitError
	for _, l := range hit[:min(len(hit), maxLimitsHit)] {
		if l != nil {
			out = append(out, l.Value())
		}
	}
	return out
}

// Value is the status.
func (x *ExitStatus) Value() backends.ExitStatus {
	if x == nil {
		return backends.ExitStatus{Code: -1}
	}
	s := backends.ExitStatus{Code: int(x.Code), Signal: bounded(x.Signal)}
	if x.Time != 0 {
		s.Time = time.Unix(0, x.Time)
	}
	if x.Limit != nil {
		s.Limit = x.Limit.Value()
	}
	s.LimitsHit = limitsHit(x.LimitsHit)
	return s
}

// NewLimit is a limit that was reached.
func NewLimit(l *backends.LimitError) *Limit {
	return &Limit{Limit: string(l.Limit), Allowed: l.Allowed, Used: l.Used, Note: l.Note}
}

// Value is the limit.
func (x *Limit) Value() *backends.LimitError {
	return &backends.LimitError{Limit: backends.LimitName(bounded(x.Limit)), Allowed: x.Allowed, Used: x.Used, Note: bounded(x.Note)}
}

// NewLimits are limits of an instance.
func NewLimits(l backends.Limits) *Limits {
	return &Limits{
		Memory: l.Memory, Cpus: l.CPUs, CpuTime: int64(l.CPUTime), Processes: int64(l.Processes),
		FileSize: l.FileSize, OpenFiles: int64(l.OpenFiles), Disk: l.Disk,
	}
}

// Value is the limits.
func (x *Limits) Value() backends.Limits {
	if x == nil {
		return backends.Limits{}
	}
	return backends.Limits{
		Memory: x.Memory, CPUs: x.Cpus, CPUTime: time.Duration(x.CpuTime), Processes: int(x.Processes),
		FileSize: x.FileSize, OpenFiles: int(x.OpenFiles), Disk: x.Disk,
	}
}

// NewStats are figures of an instance.
func NewStats(s backends.Stats) *StatsResponse {
	return &StatsResponse{
		Time: s.Time.UnixNano(), Cpu: int64(s.CPU), Memory: s.Memory, Processes: int64(s.Processes), Threads: int64(s.Threads),
		Disk: s.Disk, Files: int64(s.Files), DiskPartial: s.DiskPartial, DiskTime: s.DiskTime.UnixNano(),
	}
}

// Value is the figures.
func (x *StatsResponse) Value() backends.Stats {
	return backends.Stats{
		Time: time.Unix(0, x.Time), CPU: time.Duration(x.Cpu), Memory: x.Memory, Processes: int(x.Processes), Threads: int(x.Threads),
		Disk: x.Disk, Files: int(x.Files), DiskPartial: x.DiskPartial, DiskTime: time.Unix(0, x.DiskTime),
	}
}

// NewKernelSpec is a kernel's recipe.
func NewKernelSpec(s messaging.KernelSpec) (*KernelSpec, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return &KernelSpec{Name: s.Name, Json: string(data), ResourceDir: s.ResourceDir}, nil
}

// Value is the recipe.
func (x *KernelSpec) Value() (messaging.KernelSpec, error) {
	if x == nil {
		return messaging.KernelSpec{}, fmt.Errorf("kernelspec: %w", backends.ErrNotFound)
	}
	s, err := messaging.ParseKernelSpec([]byte(x.Json))
	if err != nil {
		return messaging.KernelSpec{}, err
	}
	s.Name, s.ResourceDir = bounded(x.Name), bounded(x.ResourceDir)
	return *s, nil
}

// NewUsage is what a span of work used.
func NewUsage(u backends.Usage) *Usage {
	x := &Usage{Cpu: int64(u.CPU), PeakMemory: u.PeakMemory, FilesPartial: u.FilesPartial, LimitsHit: newLimitsHit(u.LimitsHit)}
	size := 0
	for _, f := range u.Files {
		if size += len(f.Path) + 32; size > MaxMessage/2 {
			x.FilesPartial = true
			break
		}
		x.Files = append(x.Files, &FileChange{Path: valid(f.Path), Op: string(f.Op), Size: f.Size})
	}
	return x
}

// Value is the usage.
func (x *Usage) Value() backends.Usage {
	u := backends.Usage{CPU: time.Duration(x.Cpu), PeakMemory: x.PeakMemory, FilesPartial: x.FilesPartial, LimitsHit: limitsHit(x.LimitsHit)}
	for _, f := range x.Files {
		u.Files = append(u.Files, backends.FileChange{Path: f.Path, Op: backends.ChangeKind(bounded(f.Op)), Size: f.Size})
	}
	return u
}

// valid is a text that a message may hold: names of files are bytes, texts of messages are not.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// channels by number.
var channels = map[Channel]messaging.Channel{
	Channel_CHANNEL_SHELL: messaging.Shell, Channel_CHANNEL_IOPUB: messaging.IOPub,
	Channel_CHANNEL_STDIN: messaging.Stdin, Channel_CHANNEL_CONTROL: messaging.Control,
}

// Value is the channel; "" for one that is unknown.
func (x Channel) Value() messaging.Channel { return channels[x] }

// NewChannel is a channel's number.
func NewChannel(c messaging.Channel) Channel {
	switch c {
	case messaging.Shell:
		return Channel_CHANNEL_SHELL
	case messaging.IOPub:
		return Channel_CHANNEL_IOPUB
	case messaging.Stdin:
		return Channel_CHANNEL_STDIN
	case messaging.Control:
		return Channel_CHANNEL_CONTROL
	}
	return Channel_CHANNEL_UNSPECIFIED
}
