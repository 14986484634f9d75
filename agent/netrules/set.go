package netrules

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Range is the addresses from First to Last, both included and of one family. As text it is "first-last".
type Range struct {
	First, Last netip.Addr
}

// Single is the range of one address.
func Single(a netip.Addr) Range { return Range{a, a} }

// Prefix is the range of a prefix, whatever its host bits.
func Prefix(p netip.Prefix) Range {
	p = p.Masked()
	last := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(last)*8; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	return Range{p.Addr(), end}
}

// MarshalText is "first-last".
func (r Range) MarshalText() ([]byte, error) {
	return []byte(r.First.String() + "-" + r.Last.String()), nil
}

// UnmarshalText reads "first-last". Addresses with a zone and ends in the wrong order are mistakes.
func (r *Range) UnmarshalText(text []byte) error {
	first, last, _ := strings.Cut(string(text), "-")
	var got Range
	var err error
	if got.First, err = netip.ParseAddr(first); err != nil {
		return fmt.Errorf("range %q: %w", text, err)
	}
	if got.Last, err = netip.ParseAddr(last); err != nil {
		return fmt.Errorf("range %q: %w", text, err)
	}
	if !got.valid() {
		return fmt.Errorf("range %q: want two addresses of one family in order, without zones", text)
	}
	*r = got
	return nil
}

func (r Range) valid() bool {
	return r.First.IsValid() && r.First.BitLen() == r.Last.BitLen() && r.First.Zone() == "" && r.Last.Zone() == "" &&
		r.First.Compare(r.Last) <= 0
}

// Set is addresses as ranges in order, IPv4 before IPv6, which neither overlap nor touch. Its functions return new sets.
type Set []Range

// NewSet makes a set of any ranges.
func NewSet(ranges ...Range) Set {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b Range) int { return a.First.Compare(b.First) })
	var set Set
	for _, r := range sorted {
		if n := len(set); n > 0 && touches(set[n-1], r) {
			if set[n-1].Last.Less(r.Last) {
				set[n-1].Last = r.Last
			}
			continue
		}
		set = append(set, r)
	}
	return set
}

// touches reports whether b, which doesn't begin before a, overlaps or follows it without a gap.
func touches(a, b Range) bool {
	if a.First.BitLen() != b.First.BitLen() {
		return false
	}
	next := a.Last.Next() // invalid after the family's last address
	return b.First.Compare(a.Last) <= 0 || b.First == next
}

// MustSet makes a set of prefixes and addresses as text, for tables in code.
func MustSet(texts ...string) Set {
	ranges := make([]Range, len(texts))
	for i, text := range texts {
		if strings.Contains(text, "/") {
			ranges[i] = Prefix(netip.MustParsePrefix(text))
		} else {
			ranges[i] = Single(netip.MustParseAddr(text))
		}
	}
	return NewSet(ranges...)
}

// Everything is all addresses of both families.
func Everything() Set { return MustSet("0.0.0.0/0", "::/0") }

// Union is what is in s or t.
func (s Set) Union(t Set) Set { return NewSet(slices.Concat(s, t)...) }

// Minus is what is in s and not in t.
func (s Set) Minus(t Set) Set {
	var left Set
	next := 0
	for _, r := range s {
		for next < len(t) && t[next].Last.Less(r.First) {
			next++
		}
		first, gone := r.First, false
		for i := next; i < len(t) && t[i].First.Compare(r.Last) <= 0; i++ {
			if first.Less(t[i].First) {
				left = append(left, Range{first, t[i].First.Prev()})
			}
			if r.Last.Compare(t[i].Last) <= 0 {
				gone = true
				break
			}
			first = t[i].Last.Next()
		}
		if !gone {
			left = append(left, Range{first, r.Last})
		}
	}
	return left
}

// Contains reports whether a is in s. IPv4 written as IPv6 is the IPv4 address.
func (s Set) Contains(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	i, found := slices.BinarySearchFunc(s, a, func(r Range, a netip.Addr) int { return r.First.Compare(a) })
	return found || i > 0 && a.Compare(s[i-1].Last) <= 0
}

// Covers reports whether all of r is in s.
func (s Set) Covers(r Range) bool { return len(NewSet(r).Minus(s)) == 0 }

// Valid reports whether s, which came from outside, is a set.
func (s Set) Valid() bool {
	for i, r := range s {
		if !r.valid() || i > 0 && (!s[i-1].Last.Less(r.First) || touches(s[i-1], r)) {
			return false
		}
	}
	return true
}

// Family is the part of s that is IPv4 or IPv6.
func (s Set) Family(ipv6 bool) Set {
	split := slices.IndexFunc(s, func(r Range) bool { return r.First.Is6() })
	if split < 0 {
		split = len(s)
	}
	if ipv6 {
		return s[split:]
	}
	return s[:split]
}
