package main

import (
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

func TestListsImplyTheirMode(t *testing.T) {
	for _, test := range []struct {
		args     []string
		variable string
		want     backends.Network
	}{
		{args: []string{"--network", "bridge"}},
		{args: []string{"--allow", "pypi.org", "--allow", "10.1.0.0/16"}, want: backends.Network{
			Mode: backends.NetworkAllow, Allow: []string{"pypi.org", "10.1.0.0/16"},
		}},
		{args: []string{"--deny", "1.1.1.1/32"}, want: backends.Network{Mode: backends.NetworkBridge, Deny: []string{"1.1.1.1/32"}}},
		{args: []string{"--network", "bridge", "--allow", "10.1.2.3"}, want: backends.Network{
			Mode: backends.NetworkBridge, Allow: []string{"10.1.2.3"},
		}},
		{args: []string{"--allow", "10.1.2.3"}, variable: "bridge", want: backends.Network{
			Mode: backends.NetworkBridge, Allow: []string{"10.1.2.3"},
		}},
	} {
		t.Setenv("DS_SANDBOX_NETWORK", test.variable)
		var o networkOptions
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		o.flags(flags, new(string))
		require.NoError(t, flags.Parse(test.args))
		require.NoError(t, o.check())
		require.Equal(t, test.want, o.network)
	}
}
