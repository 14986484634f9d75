package fleet

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

func TestTemplatesAreFoundByTheirNames(t *testing.T) {
	f := openFleet(t, Options{Templates: []Template{{ID: "big", Aliases: []string{"large"}}}})
	for name, want := range map[string][2]string{
		"":                            {"base", "default"},
		"base":                        {"base", "default"},
		"default":                     {"base", "default"},
		"base:latest":                 {"base", "base:latest"},
		"code-interpreter":            {"code-interpreter-v1", "code-interpreter"},
		"code-interpreter-v1":         {"code-interpreter-v1", "code-interpreter"},
		"code-interpreter-v1:default": {"code-interpreter-v1", "code-interpreter-v1:default"},
		"big":                         {"big", "large"},
		"large":                       {"big", "large"},
	} {
		from, err := f.resolve(ada, name)
		require.NoError(t, err, name)
		require.Equal(t, want, [2]string{from.template, from.alias}, name)
	}
	for _, name := range []string{"Base", "base:2", "x", "../base", "base/", "::"} {
		_, err := f.resolve(ada, name)
		require.ErrorIs(t, err, ErrNoTemplate, name)
	}
	for _, bad := range [][]Template{{{ID: "A"}}, {{ID: "a"}, {ID: "a"}}, {{ID: "a", Aliases: []string{"a"}}}, {{ID: ""}}} {
		require.Error(t, CheckTemplates(bad))
	}
}

func TestNetworksAreNoMoreThanTheDaemonGives(t *testing.T) {
	for name, test := range map[string]struct {
		asked  *Network
		policy backends.NetworkMode
		want   backends.Network
	}{
		"nothing asked":     {nil, backends.NetworkBridge, backends.Network{}},
		"the internet":      {&Network{}, backends.NetworkBridge, backends.Network{Mode: backends.NetworkBridge}},
		"none of it":        {&Network{NoInternet: true}, backends.NetworkBridge, backends.Network{Mode: backends.NetworkAllow}},
		"all denied":        {&Network{Deny: []string{"0.0.0.0/0"}, Allow: []string{"pypi.org"}}, backends.NetworkBridge, backends.Network{Mode: backends.NetworkAllow, Allow: []string{"pypi.org"}}},
		"some denied":       {&Network{Deny: []string{"8.8.8.8"}}, backends.NetworkBridge, backends.Network{Mode: backends.NetworkBridge, Deny: []string{"8.8.8.8"}}},
		"no wider":          {&Network{}, backends.NetworkAllow, backends.Network{Mode: backends.NetworkAllow}},
		"there is none":     {&Network{NoInternet: true, Deny: []string{"8.8.8.8"}}, backends.NetworkNone, backends.Network{}},
		"there is none yet": {&Network{}, backends.NetworkNone, backends.Network{}},
	} {
		got, err := test.asked.rules(test.policy)
		require.NoError(t, err, name)
		require.Equal(t, test.want, got, name)
	}
	_, err := (&Network{Allow: []string{"pypi.org"}}).rules(backends.NetworkNone)
	require.ErrorContains(t, err, "this daemon gives sandboxes no network")
}
