package netrules

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Names is which names are answered.
type Names struct {
	All     bool     `json:"all,omitempty"`     // any but local ones, see Local
	Domains []string `json:"domains,omitempty"` // "pypi.org", and "*.pypi.org" for what is below; lower case, no dot at the end
}

// Listed reports whether a domain of the list admits name, which is in lower case and without a dot at the end.
func (n Names) Listed(name string) bool {
	for _, domain := range n.Domains {
		if parent, ok := strings.CutPrefix(domain, "*"); ok {
			if len(name) > len(parent) && strings.HasSuffix(name, parent) {
				return true
			}
		} else if name == domain {
			return true
		}
	}
	return false
}

// Admits reports whether name is answered: it is listed, or all are and it is no local one.
func (n Names) Admits(name string) bool {
	return n.Listed(name) || n.All && !Local(name)
}

// Local reports whether name can only mean something inside a network: a single label, or below a domain set aside for such use. Resolvers
// of companies and clouds answer these (metadata.google.internal), and what exists there is nobody's business.
func Local(name string) bool {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return true
	}
	switch name[dot+1:] {
	case "local", "localhost", "localdomain", "internal", "intranet", "private", "corp", "home", "lan", "onion", "invalid":
		return true
	}
	return name == "home.arpa" || strings.HasSuffix(name, ".home.arpa")
}

// Reverse is the address whose name is asked for, and whether name is below the domains of such questions at all. The address is
// invalid where name is no whole one (zones and parts of them are asked for by those who map networks).
func Reverse(name string) (address netip.Addr, reverse bool) {
	if rest, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		labels := strings.Split(rest, ".")
		slices.Reverse(labels)
		address, _ = netip.ParseAddr(strings.Join(labels, "."))
		return address, true
	}
	if rest, ok := strings.CutSuffix(name, ".ip6.arpa"); ok {
		digits := strings.ReplaceAll(rest, ".", "")
		if len(digits) != 32 || len(rest) != 63 {
			return netip.Addr{}, true
		}
		var b [16]byte
		for i := range digits {
			n, err := strconv.ParseUint(digits[i:i+1], 16, 8)
			if err != nil || rest[2*i:2*i+1] == "." {
				return netip.Addr{}, true
			}
			b[15-i/2] |= byte(n) << (4 * (i % 2))
		}
		return netip.AddrFrom16(b), true
	}
	return netip.Addr{}, name == "in-addr.arpa" || name == "ip6.arpa"
}
