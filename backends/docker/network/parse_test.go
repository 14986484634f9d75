package network

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

func TestMistakesNameTheEntryAndTheRemedy(t *testing.T) {
	for entry, remedy := range map[string]string{
		"":                               "remove",
		" 1.2.3.4":                       "remove",
		"1.2.3.4 ":                       "remove",
		"https://pypi.org/":              "only its host",
		"1.2.3.4:443":                    "address alone",
		"[::1]:443":                      "address alone",
		"pypi.org:443":                   "address alone",
		"1.2.3":                          `use "1.2.3.4"`,
		"1.2.3.400":                      `use "1.2.3.4"`,
		"01.2.3.4":                       `use "1.2.3.4"`,
		"1.2.3.4/33":                     `use "1.2.3.4"`,
		"10.0.0.1/8":                     `write "10.0.0.0/8", or "10.0.0.1"`,
		"pypi.org/24":                    `use "1.2.3.4"`,
		"::ffff:1.2.3.4":                 `write "1.2.3.4"`,
		"::ffff:1.2.3.0/120":             "write it as IPv4",
		"fe80::1%eth0":                   "2001:db8::/32",
		"127.0.0.1":                      "remove it",
		"169.254.169.254":                "remove it",
		"169.254.0.0/16":                 "remove it",
		"fe80::1":                        "remove it",
		"::1":                            "remove it",
		"fd00:ec2::254":                  "remove it",
		"224.0.0.251":                    "remove it",
		"100.100.100.200":                "remove it",
		"localhost":                      "write the whole domain",
		"a.localhost":                    "reaches its own ports",
		"intranet":                       "write the whole domain",
		"*":                              `use mode "bridge"`,
		"*.":                             `use "example.com"`,
		"a.*.org":                        "in front",
		"*.*.org":                        "in front",
		"*pypi.org":                      "in front",
		"py_pi..org":                     `use "example.com"`,
		"pypi.org?":                      `use "example.com"`,
		"-a.org":                         `use "example.com"`,
		strings.Repeat("a", 64) + ".org": `use "example.com"`,
	} {
		_, err := Parse(backends.Network{Mode: backends.NetworkAllow, Allow: []string{"1.1.1.1", entry}})
		var mistake *EntryError
		require.ErrorAs(t, err, &mistake, entry)
		require.ErrorIs(t, err, backends.ErrInvalidNetwork, entry)
		require.Equal(t, entry, mistake.Entry)
		require.Contains(t, err.Error(), fmt.Sprintf("%q", entry))
		require.Contains(t, mistake.Remedy, remedy, entry)
	}
}

func TestListsMustMakeSense(t *testing.T) {
	parse := func(n backends.Network) error { _, err := Parse(n); return err }
	require.NoError(t, parse(backends.Network{}))
	require.NoError(t, parse(backends.Network{Mode: backends.NetworkAllow}), "to be opened later")
	require.ErrorContains(t, parse(backends.Network{Mode: "open"}), `"bridge"`)
	require.ErrorIs(t, parse(backends.Network{Mode: "open"}), backends.ErrInvalidNetwork)
	require.ErrorContains(t, parse(backends.Network{Allow: []string{"1.1.1.1"}}), `use mode "allow"`)
	require.ErrorContains(t, parse(backends.Network{Mode: "none", Deny: []string{"1.1.1.1"}}), `use mode "allow"`)
	require.ErrorContains(t, parse(backends.Network{Mode: "bridge", Deny: []string{"pypi.org"}}), "is a domain")
	require.NoError(t, parse(backends.Network{Mode: "bridge", Deny: []string{"0.0.0.0/0", "::/0", "169.254.169.254"}}))

	many := make([]string, MaxAddresses+1)
	for i := range many {
		many[i] = fmt.Sprintf("1.0.%d.%d", i/256, i%256)
	}
	require.ErrorContains(t, parse(backends.Network{Mode: "bridge", Deny: many}), "name ranges")
	for i := range many {
		many[i] = fmt.Sprintf("d%d.example", i)
	}
	require.ErrorContains(t, parse(backends.Network{Mode: "allow", Allow: many}), "*.example.com")
}

func TestDomainsAreWrittenAsTheyAreCompared(t *testing.T) {
	p, err := Parse(backends.Network{Mode: "allow", Allow: []string{"PyPI.org", "pypi.org.", "*.Bücher.example", "_dmarc.example.org", "*.org"}})
	require.NoError(t, err)
	require.Equal(t, []string{"pypi.org", "*.xn--bcher-kva.example", "_dmarc.example.org", "*.org"}, p.domains)
}

// FuzzParse: any text is a mistake that names itself, or compiles to rules that helpers take.
func FuzzParse(f *testing.F) {
	for _, entry := range []string{"1.2.3.4", "10.0.0.0/8", "pypi.org", "*.pypi.org", "::/0", "fe80::1%x", "é.org", "1.2.3.4:5"} {
		f.Add(entry)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		for _, n := range []backends.Network{
			{Mode: "allow", Allow: []string{entry}}, {Mode: "bridge", Deny: []string{entry}},
		} {
			p, err := Parse(n)
			if err != nil {
				var mistake *EntryError
				require.ErrorAs(t, err, &mistake)
				require.Equal(t, entry, mistake.Entry)
				require.NotEmpty(t, mistake.Remedy)
				continue
			}
			rules := p.Compile(testFacts)
			require.NoError(t, rules.Check())
			for _, at := range hopeless {
				require.False(t, rules.Admitted.Contains(at) || rules.Resolvable.Contains(at), "%s admits %s", entry, at)
			}
			require.False(t, slices.Contains(rules.Names.Domains, ""))
		}
	})
}
