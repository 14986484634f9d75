package network

import (
	"slices"

	"github.com/ds-sandbox/ds-sandbox/agent/netrules"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Compile says which addresses and names are admitted. Of two statements about an address the first in this list counts:
//
//  1. Loopback, link-local, multicast and metadata addresses are refused.
//  2. The host's addresses are refused, unless Allow names the very address.
//  3. Private addresses are refused, unless an entry of Allow lies wholly among these (0.0.0.0/0 is not meant to open them).
//  4. What Allow names is admitted.
//  5. What Deny names is refused.
//  6. The mode decides.
//
// An address that a domain of Allow led to is admitted after 3: a domain can be made to point anywhere, so it opens no private address.
func (p *Policy) Compile(f netrules.Facts) netrules.Rules {
	rules := netrules.Rules{Version: netrules.Version}
	if p.Mode == backends.NetworkNone {
		return rules
	}
	allow := netrules.NewSet(p.allow...)
	var host, named []netrules.Range
	for _, address := range f.Host {
		one := netrules.Single(address.Unmap().WithZone(""))
		if !slices.Contains(p.allow, one) {
			host = append(host, one)
		}
	}
	special := private.Union(never)
	for _, r := range p.allow {
		if special.Covers(r) {
			named = append(named, r)
		}
	}
	refused := private.Minus(netrules.NewSet(named...)).Union(never).Union(netrules.NewSet(host...))

	var base netrules.Set
	if p.Mode == backends.NetworkBridge {
		base = netrules.Everything().Minus(netrules.NewSet(p.deny...))
		rules.Names.All = true
	}
	rules.Admitted = base.Union(allow).Minus(refused)
	if len(p.domains) > 0 {
		rules.Names.Domains = p.domains
		rules.Resolvable = netrules.Everything().Minus(refused)
	}
	rules.Upstreams = f.Upstreams[:min(len(f.Upstreams), netrules.MaxUpstreams)]
	return rules
}
