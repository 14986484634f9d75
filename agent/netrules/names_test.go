package netrules

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNamesMatchWholeLabels(t *testing.T) {
	n := Names{Domains: []string{"pypi.org", "*.example.com", "db.internal"}}
	for name, want := range map[string]bool{
		"pypi.org": true, "www.pypi.org": false, "notpypi.org": false, "org": false, "": false,
		"example.com": false, "a.example.com": true, "a.b.example.com": true, "badexample.com": false, ".example.com": false,
		"db.internal": true, "x.internal": false,
	} {
		require.Equal(t, want, n.Admits(name), name)
	}
}

func TestLocalNamesAreNobodysBusiness(t *testing.T) {
	n := Names{All: true}
	for _, name := range []string{"", "localhost", "intranet", "metadata.google.internal", "printer.local", "a.home.arpa"} {
		require.False(t, n.Admits(name), name)
	}
	require.True(t, n.Admits("pypi.org"))
	require.True(t, n.Admits("internal.example.com"))
}

func TestReverseNames(t *testing.T) {
	at := "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
	for name, want := range map[string]string{
		"4.3.2.1.in-addr.arpa": "1.2.3.4", at: "2001:db8::1", "10.in-addr.arpa": "", "8.b.d.0.1.0.0.2.ip6.arpa": "", "ip6.arpa": "",
		"x" + at[1:]: "", ".1" + at[2:]: "",
	} {
		a, reverse := Reverse(name)
		require.True(t, reverse, name)
		require.Equal(t, want != "", a.IsValid(), name)
		if want != "" {
			require.Equal(t, want, a.String())
		}
	}
	_, reverse := Reverse("example.org")
	require.False(t, reverse)
}

func TestRulesFromOutsideAreChecked(t *testing.T) {
	require.NoError(t, (&Rules{Version: Version}).Check())
	require.ErrorContains(t, (&Rules{}).Check(), "form 0")
	for _, upstream := range []string{"127.0.0.53:53", "0.0.0.0:53", "1.1.1.1:0"} {
		r := Rules{Version: Version, Upstreams: []netip.AddrPort{netip.MustParseAddrPort(upstream)}}
		require.Error(t, r.Check(), upstream)
	}
	unordered := Set{Single(netip.MustParseAddr("2.2.2.2")), Single(netip.MustParseAddr("1.1.1.1"))}
	require.Error(t, (&Rules{Version: Version, Admitted: unordered}).Check())
}

func TestNameserversOfOtherNamespacesAreUseful(t *testing.T) {
	conf := "# nameserver 1.1.1.1\nsearch x\nnameserver 127.0.0.53\nnameserver  10.0.0.2\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\nnameserver x\n"
	require.Equal(t, []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:53"), netip.MustParseAddrPort("[2001:db8::1]:53")}, Nameservers(conf))
}
