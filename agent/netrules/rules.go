package netrules

import (
	"errors"
	"fmt"
	"net/netip"
)

// Version of the form of Rules. A helper refuses another one, so that an old helper never enforces half of new rules.
const Version = 1

// Bounds of Rules, far above what lists within their limits compile to.
const (
	MaxRanges    = 8192
	MaxDomains   = 1024
	MaxUpstreams = 8
)

// Rules is all that a helper enforces. The zero value with its Version admits nothing. The addresses of the sandbox's own
// subnets (its gateway, which is the host; other sandboxes) are known only inside its network namespace and left out there.
type Rules struct {
	Version int `json:"version"`
	// Admitted is reached by address.
	Admitted Set `json:"admitted,omitempty"`
	// Resolvable is where names of Names.Domains may lead to beside Admitted: an address of it is admitted once such a name led there.
	Resolvable Set   `json:"resolvable,omitempty"`
	Names      Names `json:"names"`
	// Upstreams answer the resolver; only the resolver reaches them.
	Upstreams []netip.AddrPort `json:"upstreams,omitempty"`
}

// Check finds what no compiler of ours writes.
func (r *Rules) Check() error {
	switch {
	case r.Version != Version:
		return fmt.Errorf("rules have form %d and this helper knows %d: use the agent that belongs to the program", r.Version, Version)
	case !r.Admitted.Valid() || !r.Resolvable.Valid():
		return errors.New("rules: ranges are not in order")
	case len(r.Admitted) > MaxRanges || len(r.Resolvable) > MaxRanges:
		return fmt.Errorf("rules: more than %d ranges", MaxRanges)
	case len(r.Names.Domains) > MaxDomains:
		return fmt.Errorf("rules: more than %d domains", MaxDomains)
	case len(r.Upstreams) > MaxUpstreams:
		return fmt.Errorf("rules: more than %d upstreams", MaxUpstreams)
	}
	for _, up := range r.Upstreams {
		if !up.IsValid() || up.Port() == 0 || up.Addr().IsLoopback() || up.Addr().IsUnspecified() || up.Addr().Is4In6() {
			return fmt.Errorf("rules: upstream %s can't be reached from a sandbox's network", up)
		}
	}
	return nil
}

// Without is r where none of gone is admitted or resolvable.
func (r Rules) Without(gone Set) Rules {
	r.Admitted = r.Admitted.Minus(gone)
	r.Resolvable = r.Resolvable.Minus(gone)
	return r
}

// Leads reports whether an answer with address a may be given.
func (r *Rules) Leads(name string, a netip.Addr) bool {
	return r.Admitted.Contains(a) || r.Resolves(name, a)
}

// Resolves reports whether a is admitted because name led there, and not anyhow.
func (r *Rules) Resolves(name string, a netip.Addr) bool {
	return r.Names.Listed(name) && r.Resolvable.Contains(a) && !r.Admitted.Contains(a)
}
