package fleet

import (
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// Action is what becomes of a member at the end of its time.
type Action string

// The actions.
const (
	Kill  Action = "kill"
	Pause Action = "pause"
)

// Spec is what a sandbox is created from. The zero value works.
type Spec struct {
	// Template is a template's id or alias, a snapshot's id or name, or, where Options.Images admits it, the name of an image;
	// DefaultTemplate.
	Template string
	Timeout  time.Duration // until OnTimeout is done; Options.Timeout. It may not be beyond Options.MaxTimeout
	Env      map[string]string
	Metadata map[string]string

	OnTimeout  Action // Kill
	AutoResume bool   // a request for the sandbox wakes it when it is paused

	Public  bool     // its ports are open to all who know its id; else they need TrafficToken
	Network *Network // nil: as the daemon's configuration has it

	Language string         // of the context that is ready when Create returns; "python"
	Lazy     bool           // start that context at its first use
	Limits   sandbox.Limits // those of the template, and of the engine, for each field that is zero
}

// Bounds of a Spec's maps.
const (
	maxPairs = 1000
	maxText  = 256 << 10 // of all names and values, bytes
)

func (s *Spec) check(o *Options) error {
	switch {
	case s.Timeout < 0:
		return specErrorf("timeout", "%v is negative: use a positive one", s.Timeout)
	case s.OnTimeout != "" && s.OnTimeout != Kill && s.OnTimeout != Pause:
		return specErrorf("onTimeout", "%q is not known: use %s or %s", s.OnTimeout, Kill, Pause)
	}
	if err := checkTimeout(s.Timeout, o.MaxTimeout); err != nil {
		return err
	}
	for name, pairs := range map[string]map[string]string{"env": s.Env, "metadata": s.Metadata} {
		size := 0
		for key, value := range pairs {
			size += len(key) + len(value)
		}
		if len(pairs) > maxPairs || size > maxText {
			return specErrorf(name, "it has %d entries of %d bytes: at most %d of %d are kept", len(pairs), size, maxPairs, maxText)
		}
	}
	if err := s.Limits.Check(); err != nil {
		return specErrorf("limits", "%v", err)
	}
	return s.Network.check()
}

func checkTimeout(d, most time.Duration) error {
	if d > most {
		return specErrorf("timeout", "%v is more than the %v that this daemon allows", d, most)
	}
	return nil
}

// clone is a copy that shares nothing.
func (s *Spec) clone() Spec {
	c := *s
	c.Env, c.Metadata, c.Network = maps.Clone(s.Env), maps.Clone(s.Metadata), s.Network.clone()
	return c
}

// Network is what a sandbox may reach, as the protocols have it. What Allow names is reached whatever else says.
type Network struct {
	NoInternet bool     // reach only what Allow names
	Allow      []string // addresses, ranges, domains; see backends.Network
	Deny       []string // addresses and ranges
	MaskHost   string   // what servers in the sandbox see as the Host of requests, with ${PORT}; "" is theirs
}

func (n *Network) clone() *Network {
	if n == nil {
		return nil
	}
	c := *n
	c.Allow, c.Deny = slices.Clone(n.Allow), slices.Clone(n.Deny)
	return &c
}

const maxMaskHost = 253

// maskHost is what can be a request's Host.
var maskHost = regexp.MustCompile(`^(?:[A-Za-z0-9._:\[\]-]|\$\{PORT\})*$`)

func (n *Network) check() error {
	switch {
	case n == nil:
	case len(n.MaskHost) > maxMaskHost:
		return specErrorf("maskRequestHost", "it is %d bytes long: use at most %d", len(n.MaskHost), maxMaskHost)
	case !maskHost.MatchString(n.MaskHost):
		return specErrorf("maskRequestHost", "%q is no host: use one such as localhost:${PORT}", n.MaskHost)
	}
	return nil
}
