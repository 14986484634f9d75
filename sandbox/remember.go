package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// What a program that takes over a sandbox has to know is kept with its instance, by a backend whose instances outlive programs.

// stateKey is the name of what is kept.
const stateKey = "sandbox"

// rememberPatience bounds how long keeping it may take.
const rememberPatience = 5 * time.Second

// remembered is a sandbox as it is kept.
type remembered struct {
	Metadata map[string]string   `json:"metadata,omitempty"`
	Started  time.Time           `json:"started"`
	Expires  time.Time           `json:"expires"` // zero when it lives until it is killed
	Cull     time.Duration       `json:"cull"`
	Limits   backends.Limits     `json:"limits"`
	Contexts []rememberedContext `json:"contexts"`
}

// rememberedContext is one of its contexts.
type rememberedContext struct {
	ID       string            `json:"id"`
	Language string            `json:"language"`
	Kernel   string            `json:"kernel"`  // name of the kernelspec
	Process  string            `json:"process"` // of the kernel, in the instance; empty before a lazy one is started
	Dir      string            `json:"dir,omitempty"`
	Env      map[string]string `json:"env,omitempty"`
	Undoable bool              `json:"undoable,omitempty"`
	Default  bool              `json:"default,omitempty"`
}

// remember keeps the sandbox as it is now. A failure is a warning: it harms nobody before another program comes.
func (s *Sandbox) remember() {
	survivor, ok := s.instance.(backends.Survivor)
	if !ok || s.life.Err() != nil {
		return
	}
	s.remembering.Lock() // in the order of what happened
	defer s.remembering.Unlock()
	data, err := json.Marshal(s.memory())
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), rememberPatience)
		defer cancel()
		err = survivor.SetState(ctx, stateKey, data)
	}
	if err != nil && s.life.Err() == nil {
		s.engine.config.Logger.Warn("keep what another program would need", "sandbox", s.id, "error", err)
	}
}

func (s *Sandbox) memory() remembered {
	s.mu.Lock()
	m := remembered{Metadata: s.metadata, Started: s.started, Expires: s.expires, Cull: s.cull, Limits: s.limits}
	contexts := s.contexts
	defaults := make(map[*Context]bool, len(s.defaults))
	for _, c := range s.defaults {
		defaults[c] = true
	}
	s.mu.Unlock()
	for _, c := range contexts {
		kept := rememberedContext{
			ID: c.id, Language: c.language, Kernel: c.kernelName, Dir: c.dir, Env: c.env, Undoable: c.undoable, Default: defaults[c],
		}
		if k := c.current(); k != nil {
			kept.Process = k.Process().ID()
		}
		m.Contexts = append(m.Contexts, kept)
	}
	return m
}

// recall reads what an earlier program kept.
func recall(ctx context.Context, survivor backends.Survivor) (remembered, error) {
	var m remembered
	data, err := survivor.State(ctx, stateKey)
	if errors.Is(err, backends.ErrNotFound) {
		return m, errors.New("its program ended before it was ready: let it end by itself, and create another")
	}
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		return m, fmt.Errorf("what its program kept: %w", err)
	}
	return m, nil
}
