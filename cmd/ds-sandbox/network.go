package main

import (
	"cmp"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/network"
)

// networkOptions say what a container may reach beyond its network's mode.
type networkOptions struct {
	mode        *string // --network
	allow, deny []string

	network backends.Network // checked; zero when there are no lists, and the mode is the engine's to read
}

func (o *networkOptions) flags(flags *pflag.FlagSet, mode *string) {
	o.mode = mode
	flags.StringVar(mode, "network", "",
		"what a container reaches: none, bridge (the internet) or allow (what --allow names alone) (default none)")
	flags.StringArrayVar(&o.allow, "allow", nil,
		"let a container reach this `address`, range or domain: 1.2.3.4, 10.0.0.0/8, pypi.org, *.pypi.org; repeatable, implies --network allow")
	flags.StringArrayVar(&o.deny, "deny", nil, "keep a container from this `address` or range; repeatable, implies --network bridge")
}

// check reads the lists.
func (o *networkOptions) check() error {
	if len(o.allow) == 0 && len(o.deny) == 0 {
		return nil
	}
	implied := backends.NetworkBridge
	if len(o.allow) > 0 {
		implied = backends.NetworkAllow
	}
	o.network = backends.Network{
		Mode:  backends.NetworkMode(cmp.Or(*o.mode, os.Getenv(variableFor("network")), string(implied))),
		Allow: o.allow, Deny: o.deny,
	}
	if _, err := network.Parse(o.network); err != nil {
		return usagef("--allow, --deny: %s", strings.TrimPrefix(err.Error(), "network: "))
	}
	return nil
}
