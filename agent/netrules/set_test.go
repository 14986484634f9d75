package netrules

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSetsMergeAndKeepFamiliesApart(t *testing.T) {
	s := MustSet("10.0.1.0/24", "10.0.0.0/24", "10.0.0.7", "255.255.255.255", "::", "1::/16")
	require.Len(t, s, 4)
	require.True(t, s.Valid())
	require.Equal(t, "10.0.1.255", s[0].Last.String())
	require.Len(t, s.Family(false), 2)
	require.Len(t, s.Family(true), 2)
	require.Equal(t, Everything(), MustSet("0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"))
}

func TestMinusCutsEndsAndMiddles(t *testing.T) {
	left := Everything().Minus(MustSet("0.0.0.0/8", "10.0.0.0/8", "255.255.255.255", "::/1"))
	require.True(t, left.Valid())
	text, err := json.Marshal(left)
	require.NoError(t, err)
	require.JSONEq(t, `["1.0.0.0-9.255.255.255", "11.0.0.0-255.255.255.254", "8000::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]`, string(text))
	var back Set
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, left, back)
	require.Empty(t, left.Minus(Everything()))
	require.Equal(t, left, left.Minus(nil))
}

func TestMappedAddressesAreIPv4(t *testing.T) {
	s := MustSet("10.0.0.0/8")
	require.True(t, s.Contains(netip.MustParseAddr("::ffff:10.1.2.3")))
	require.False(t, s.Contains(netip.MustParseAddr("::ffff:11.1.2.3")))
	require.False(t, s.Contains(netip.MustParseAddr("::a01:203")))
}

func TestRangesFromOutsideAreChecked(t *testing.T) {
	for _, text := range []string{"", "-", "1.2.3.4", "1.2.3.4-", "2.0.0.0-1.0.0.0", "1.2.3.4-::1", "fe80::1%eth0-fe80::2", "1.2.3.4-5.6.7.8-9.9.9.9"} {
		var r Range
		require.Error(t, r.UnmarshalText([]byte(text)), text)
	}
	require.False(t, Set{Range{netip.MustParseAddr("1.0.0.0"), netip.MustParseAddr("2.0.0.0")}, Single(netip.MustParseAddr("2.0.0.1"))}.Valid())
	require.False(t, Set{Range{}}.Valid())
}

// FuzzSets holds the arithmetic against membership, which is what it means.
func FuzzSets(f *testing.F) {
	f.Add([]byte{10, 20, 15, 30, 0, 255}, []byte{0, 3, 254, 255, 12, 12})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		s, inS := bytesSet(a)
		u, inU := bytesSet(b)
		union, minus := s.Union(u), s.Minus(u)
		require.True(t, s.Valid() && union.Valid() && minus.Valid())
		for i := range 256 {
			at := byteAddr(byte(i))
			require.Equal(t, inS[i], s.Contains(at))
			require.Equal(t, inS[i] || inU[i], union.Contains(at))
			require.Equal(t, inS[i] && !inU[i], minus.Contains(at))
		}
	})
}

// byteAddr puts 128 addresses at each end of the families, where overflow lurks.
func byteAddr(b byte) netip.Addr {
	if b < 128 {
		return netip.AddrFrom4([4]byte{255, 255, 255, 128 + b})
	}
	return netip.AddrFrom16([16]byte{15: b - 128})
}

func bytesSet(b []byte) (Set, [256]bool) {
	var ranges []Range
	var in [256]bool
	for ; len(b) >= 2; b = b[2:] {
		first, last := b[0], b[1]
		if first > last || first < 128 != (last < 128) {
			continue
		}
		ranges = append(ranges, Range{byteAddr(first), byteAddr(last)})
		for i := int(first); i <= int(last); i++ {
			in[i] = true
		}
	}
	return NewSet(ranges...), in
}
