package fleet

import (
	"cmp"
	"context"
	"errors"
	"math"
	"runtime"
	"strconv"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// Size is what a sandbox has: its limits, or where it has none what the machine of the daemon has.
type Size struct {
	CPUs   int   // whole processors, at least one
	Memory int64 // bytes
	Disk   int64 // bytes
}

// size is the member's.
func (m *Member) size() Size {
	limits, machine := m.sandbox.Info().Limits, m.fleet.machine()
	s := Size{
		CPUs: int(math.Ceil(limits.CPUs)), Memory: limits.Memory, Disk: limits.Disk,
	}
	return Size{CPUs: cmp.Or(s.CPUs, machine.CPUs), Memory: cmp.Or(s.Memory, machine.Memory), Disk: cmp.Or(s.Disk, machine.Disk)}
}

// machine is what the daemon's machine has.
func (f *Fleet) machine() Size {
	memory, disk := machineMemory(), machineDisk(f.engine.Config().WorkspaceBaseDir)
	return Size{CPUs: runtime.NumCPU(), Memory: memory, Disk: disk}
}

// Figure is what a sandbox used at a moment.
type Figure struct {
	Time        time.Time
	CPUs        int
	CPUPercent  float64 // of all its processors, since the figure before
	MemoryUsed  int64   // bytes, like those that follow
	MemoryTotal int64
	DiskUsed    int64
	DiskTotal   int64
}

// Figures are those of a span, oldest first: at most one for each sandbox.HistoryInterval of the last hour. A zero since or until is
// no bound.
func (m *Member) Figures(since, until time.Time) []Figure {
	history, size, started := m.sandbox.History(), m.size(), m.sandbox.Info().StartedAt
	figures := make([]Figure, 0, len(history))
	before := sandbox.Stats{Time: started}
	for _, s := range history {
		f := figureOf(s, before, size)
		before = s
		if !since.IsZero() && s.Time.Before(since) || !until.IsZero() && s.Time.After(until) {
			continue
		}
		figures = append(figures, f)
	}
	return figures
}

// Latest is the figure of now. Error: ErrNotFound, the cause of ctx.
func (m *Member) Latest(ctx context.Context) (Figure, error) {
	now, err := m.sandbox.Stats(ctx)
	if err != nil {
		return Figure{}, m.reason(err)
	}
	before := sandbox.Stats{Time: m.sandbox.Info().StartedAt}
	if history := m.sandbox.History(); len(history) > 0 {
		before = history[len(history)-1]
	}
	return figureOf(now, before, m.size()), nil
}

func figureOf(s, before sandbox.Stats, size Size) Figure {
	f := Figure{
		Time: s.Time, CPUs: size.CPUs, MemoryUsed: s.Memory, MemoryTotal: size.Memory, DiskUsed: s.Disk, DiskTotal: size.Disk,
	}
	if span := s.Time.Sub(before.Time); span > 0 && s.CPU > before.CPU {
		f.CPUPercent = math.Round(10000*float64(s.CPU-before.CPU)/float64(span)/float64(size.CPUs)) / 100
	}
	return f
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

func isTimeout(err error) bool { return errors.Is(err, sandbox.ErrTimeout) }
