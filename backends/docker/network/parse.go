package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"github.com/ds-sandbox/ds-sandbox/agent/netrules"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Limits of one list. More would cost time at every change, and who needs more wants a range.
const (
	MaxAddresses = 512
	MaxDomains   = 256
)

// Policy is a checked backends.Network.
type Policy struct {
	Mode    backends.NetworkMode
	domains []string
	allow   []netrules.Range
	deny    []netrules.Range
}

// EntryError says what is wrong with one entry of a list, and what to write instead.
type EntryError struct {
	List   string // "allow" or "deny"
	Entry  string
	Wrong  string
	Remedy string
}

func (e *EntryError) Error() string {
	return fmt.Sprintf("network: %s entry %q %s: %s", e.List, e.Entry, e.Wrong, e.Remedy)
}

// Parse checks n. Its errors name the entry and the remedy; all are backends.ErrInvalidNetwork, and those about an entry *EntryError.
func Parse(n backends.Network) (*Policy, error) {
	p, err := parse(n)
	if err != nil {
		return nil, invalidError{err}
	}
	return p, nil
}

// invalidError is a mistake in a network.
type invalidError struct{ error }

func (e invalidError) Unwrap() error { return e.error }

func (e invalidError) Is(target error) bool { return target == backends.ErrInvalidNetwork }

func parse(n backends.Network) (*Policy, error) {
	p := &Policy{Mode: n.Mode}
	switch n.Mode {
	case "":
		p.Mode = backends.NetworkNone
	case backends.NetworkNone, backends.NetworkBridge, backends.NetworkAllow:
	default:
		return nil, fmt.Errorf("network: mode %q is unknown: use %q, %q or %q",
			n.Mode, backends.NetworkNone, backends.NetworkBridge, backends.NetworkAllow)
	}
	if p.Mode == backends.NetworkNone && len(n.Allow)+len(n.Deny) > 0 {
		return nil, fmt.Errorf("network: mode %q reaches nothing, so lists mean nothing in it: use mode %q for only what allow names, "+
			"or %q for the internet without what deny names", backends.NetworkNone, backends.NetworkAllow, backends.NetworkBridge)
	}
	for _, entry := range n.Allow {
		if err := p.addAllow(entry); err != nil {
			return nil, err
		}
	}
	for _, entry := range n.Deny {
		r, isDomain, err := parseEntry("deny", entry)
		if isDomain {
			return nil, &EntryError{
				"deny", entry, "is a domain",
				`an address has many names, so refusing one keeps nobody out; deny addresses or ranges, or use mode "allow"`,
			}
		}
		if err != nil {
			return nil, err
		}
		p.deny = append(p.deny, r)
	}
	for list, count := range map[string]int{"allow": len(p.allow), "deny": len(p.deny)} {
		if count > MaxAddresses {
			return nil, fmt.Errorf("network: %s has %d addresses and ranges, more than %d: name ranges instead of addresses",
				list, count, MaxAddresses)
		}
	}
	if len(p.domains) > MaxDomains {
		return nil, fmt.Errorf(`network: allow has %d domains, more than %d: name what is below a domain by "*.example.com"`,
			len(p.domains), MaxDomains)
	}
	return p, nil
}

func (p *Policy) addAllow(entry string) error {
	r, isDomain, err := parseEntry("allow", entry)
	if isDomain {
		domain, err := parseDomain(entry)
		if err == nil && !slices.Contains(p.domains, domain) {
			p.domains = append(p.domains, domain)
		}
		return err
	}
	if err != nil {
		return err
	}
	if never.Covers(r) {
		return &EntryError{"allow", entry, "is loopback, link-local, multicast or a metadata service, which no sandbox reaches", "remove it"}
	}
	p.allow = append(p.allow, r)
	return nil
}

// parseEntry reads an address or a range, or tells that entry can only be a domain.
func parseEntry(list, entry string) (r netrules.Range, isDomain bool, err error) {
	mistake := func(wrong, remedy string) (netrules.Range, bool, error) {
		return netrules.Range{}, false, &EntryError{list, entry, wrong, remedy}
	}
	const forms = `use "1.2.3.4", "1.2.3.0/24", "2001:db8::/32"`
	switch {
	case strings.TrimSpace(entry) != entry || entry == "":
		return mistake("is empty or has blanks around it", "remove them")
	case strings.Contains(entry, "://"):
		return mistake("is a URL", "name only its host; ports and paths are not told apart")
	case strings.Contains(entry, "%"):
		return mistake("has a zone", forms)
	}
	if strings.Contains(entry, "/") {
		prefix, err := netip.ParsePrefix(entry)
		switch {
		case err != nil:
			return mistake("is no range", forms)
		case prefix.Addr().Is4In6():
			return mistake("is IPv4 written as IPv6", "write it as IPv4")
		case prefix != prefix.Masked():
			return mistake("has bits set behind its length", fmt.Sprintf("write %q, or %q for the one address", prefix.Masked(), prefix.Addr()))
		}
		return netrules.Prefix(prefix), false, nil
	}
	if address, err := netip.ParseAddr(entry); err == nil {
		if address.Is4In6() {
			return mistake("is IPv4 written as IPv6", fmt.Sprintf("write %q", address.Unmap()))
		}
		return netrules.Single(address), false, nil
	}
	if _, err := netip.ParseAddrPort(entry); err == nil || strings.Contains(entry, ":") {
		return mistake("has a port, or is no address", "name the address alone: ports are not told apart; "+forms)
	}
	if last := entry[strings.LastIndexByte(entry, '.')+1:]; last != "" && strings.Trim(last, "0123456789") == "" {
		return mistake("is no address", forms)
	}
	return netrules.Range{}, true, nil
}

// lookup is how browsers look names up, but that labels may have underscores.
var lookup = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckHyphens(true), idna.StrictDomainName(false))

// parseDomain is entry as the resolver compares it.
func parseDomain(entry string) (string, error) {
	name, below := strings.CutPrefix(entry, "*.")
	name = strings.TrimSuffix(name, ".")
	wrong := func(wrong, remedy string) (string, error) { return "", &EntryError{"allow", entry, wrong, remedy} }
	if entry == "*" {
		return wrong("names everything", `use mode "bridge"`)
	}
	if strings.Contains(name, "*") {
		return wrong("has a star inside", `a star stands for what is below a domain, once and in front: "*.example.com"`)
	}
	name, err := lookup.ToASCII(name)
	if err != nil || !wellFormed(name) {
		return wrong("is no domain", `use "example.com", "*.example.com", an address or a range`)
	}
	if !strings.Contains(name, ".") && !below {
		return wrong("is a single label", `write the whole domain: "host.example.com"`)
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return wrong("is loopback", "remove it: a sandbox reaches its own ports in any mode")
	}
	if below {
		name = "*." + name
	}
	return name, nil
}

// wellFormed is stricter than DNS: letters, digits, hyphens, and underscores as services have them.
func wellFormed(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}
