package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// maxStats bounds the engine's answer, bytes.
const maxStats = 1 << 20

// figures are what the engine says that a container uses.
func (e *engine) figures(ctx context.Context, id string) (container.StatsResponse, error) {
	var s container.StatsResponse
	r, err := e.api.ContainerStatsOneShot(ctx, id)
	if err != nil {
		return s, err
	}
	defer func() { _ = r.Body.Close() }()
	if err := json.NewDecoder(io.LimitReader(r.Body, maxStats)).Decode(&s); err != nil {
		return s, fmt.Errorf("figures of the engine: %w", err)
	}
	return s, nil
}

// add takes the engine's figures over the agent's: they count all, and code has no hand in them.
func add(s *backends.Stats, f container.StatsResponse) {
	if f.Read.IsZero() { // it has ended
		return
	}
	if cpu := time.Duration(f.CPUStats.CPUUsage.TotalUsage); cpu > 0 {
		s.CPU = cpu
	}
	if memory := used(f.MemoryStats); memory > 0 {
		s.Memory = memory
	}
}

// used is the memory without what is only cached from disk, as `docker stats` has it.
func used(m container.MemoryStats) int64 {
	cached := m.Stats["total_inactive_file"] // v1
	if _, ok := m.Stats["total_inactive_file"]; !ok {
		cached = m.Stats["inactive_file"] // v2
	}
	if cached > m.Usage {
		return int64(m.Usage)
	}
	return int64(m.Usage - cached)
}
