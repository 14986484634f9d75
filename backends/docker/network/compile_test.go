package network

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent/netrules"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

var testFacts = netrules.Facts{
	Host:      addresses("192.0.2.7", "10.1.2.3", "2600::7"),
	Upstreams: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.53:53")},
}

func addresses(texts ...string) (all []netip.Addr) {
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

// hopeless are admitted whatever is asked for.
var hopeless = addresses(
	"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "169.254.169.254", "169.254.0.1", "224.0.0.1", "239.255.255.255",
	"255.255.255.255", "100.100.100.200", "168.63.129.16", "192.0.0.192", "::", "::1", "::a00:1", "fe80::1", "febf::1", "ff02::1",
	"fd00:ec2::254", "fd20:ce::254",
)

var (
	privates = addresses(
		"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "100.127.255.255", "192.0.0.1",
		"198.18.0.1", "198.19.255.255", "240.0.0.1", "255.255.255.254", "fc00::1", "fd12::1", "fec0::1", "64:ff9b::a00:1", "64:ff9b:1::1",
		"2001::1", "2002:a00:1::1", "100::1", "4000::1", "8000::1", "1fff::1",
	)
	publics = addresses(
		"1.1.1.1", "9.255.255.255", "11.0.0.0", "172.15.0.1", "172.32.0.1", "192.167.0.1", "100.63.0.1", "100.128.0.1", "198.17.0.1",
		"198.20.0.1", "223.255.255.255", "2600::1", "2001:4860:4860::8888", "3fff:ffff::1",
	)
)

func compile(t *testing.T, n backends.Network) netrules.Rules {
	t.Helper()
	p, err := Parse(n)
	require.NoError(t, err)
	rules := p.Compile(testFacts)
	require.NoError(t, rules.Check())
	for _, at := range hopeless {
		require.False(t, rules.Admitted.Contains(at), "%v admits %s", n, at)
		require.False(t, rules.Resolvable.Contains(at), "%v resolves to %s", n, at)
	}
	return rules
}

func admits(t *testing.T, rules netrules.Rules, want bool, all []netip.Addr) {
	t.Helper()
	for _, at := range all {
		require.Equal(t, want, rules.Admitted.Contains(at), at)
	}
}

func TestBridgeIsTheInternetButForWhatIsDenied(t *testing.T) {
	rules := compile(t, backends.Network{Mode: "bridge"})
	admits(t, rules, true, publics)
	admits(t, rules, false, privates)
	admits(t, rules, false, testFacts.Host)
	require.True(t, rules.Names.All)
	require.Equal(t, testFacts.Upstreams, rules.Upstreams)

	rules = compile(t, backends.Network{Mode: "bridge", Deny: []string{"1.0.0.0/8", "2600::/16"}, Allow: []string{"1.1.1.0/24", "10.0.0.0/16"}})
	admits(t, rules, true, addresses("1.1.1.1", "2.0.0.1", "10.0.255.1", "2601::1"))
	admits(t, rules, false, addresses("1.1.2.1", "1.2.3.4", "10.1.0.1", "2600::1"))
}

func TestAllowIsWhatItNames(t *testing.T) {
	rules := compile(t, backends.Network{Mode: "allow", Allow: []string{"1.1.1.1", "10.0.0.0/24", "64:ff9b::/96", "fd12::/16"}})
	admits(t, rules, true, addresses("1.1.1.1", "10.0.0.200", "64:ff9b::a00:1", "fd12::9"))
	admits(t, rules, false, addresses("1.1.1.2", "10.0.1.0", "fd13::1", "2600::1"))
	require.False(t, rules.Names.All)
	require.Empty(t, rules.Resolvable)
	admits(t, compile(t, backends.Network{Mode: "allow"}), false, slices.Concat(publics, privates))
}

func TestWideRangesOpenNothingPrivate(t *testing.T) {
	for _, mode := range []backends.NetworkMode{"bridge", "allow"} {
		rules := compile(t, backends.Network{Mode: mode, Allow: []string{"0.0.0.0/0", "::/0", "128.0.0.0/1"}})
		admits(t, rules, true, publics)
		admits(t, rules, false, privates)
		admits(t, rules, false, testFacts.Host)
	}
}

func TestHostIsAdmittedByItsVeryAddressOnly(t *testing.T) {
	rules := compile(t, backends.Network{Mode: "allow", Allow: []string{"10.1.0.0/16", "192.0.2.0/24", "2600::/32"}})
	admits(t, rules, false, testFacts.Host)
	admits(t, rules, true, addresses("10.1.2.4", "192.0.2.8", "2600::8"))
	rules = compile(t, backends.Network{Mode: "bridge", Allow: []string{"10.1.2.3", "2600::7"}})
	admits(t, rules, true, addresses("10.1.2.3", "2600::7"))
	admits(t, rules, false, addresses("192.0.2.7"))
}

func TestDomainsLeadToNoPrivateAddressUnlessItIsNamed(t *testing.T) {
	rules := compile(t, backends.Network{Mode: "allow", Allow: []string{"a.example", "10.0.0.0/24"}})
	for _, at := range publics {
		require.True(t, rules.Leads("a.example", at), at)
		require.False(t, rules.Leads("b.example", at), at)
	}
	require.True(t, rules.Leads("a.example", netip.MustParseAddr("10.0.0.1")))
	require.False(t, rules.Leads("a.example", netip.MustParseAddr("10.0.1.1")))
	for _, at := range testFacts.Host {
		require.False(t, rules.Leads("a.example", at), at)
	}
	// What a domain leads to is named by Allow, which counts before Deny.
	rules = compile(t, backends.Network{Mode: "bridge", Allow: []string{"a.example"}, Deny: []string{"1.0.0.0/8"}})
	require.True(t, rules.Leads("a.example", netip.MustParseAddr("1.1.1.1")))
	require.False(t, rules.Leads("b.example", netip.MustParseAddr("1.1.1.1")))
}

func TestNoneIsNothing(t *testing.T) {
	rules := compile(t, backends.Network{})
	require.Equal(t, netrules.Rules{Version: netrules.Version}, rules)
}
