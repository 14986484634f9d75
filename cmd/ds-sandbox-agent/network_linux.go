package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/ds-sandbox/ds-sandbox/agent/gatekeeper"
)

// gateSocket is a file of the container that resolver and firewall run in, which is not the sandbox's.
const gateSocket = "/run/ds-sandbox-gate"

func init() {
	commands["resolver"] = keepNetwork
	commands["firewall"] = replaceRules
	commands["network-facts"] = tellFacts
}

// keepNetwork keeps a sandbox's firewall and answers its DNS until the sandbox is gone.
func keepNetwork(ctx context.Context, _ []string) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := gatekeeper.Run(ctx, gateSocket); !errors.Is(err, gatekeeper.ErrSandboxGone) {
		return err
	}
	return nil
}

// replaceRules hands the rules on stdin to the resolver of the same container.
func replaceRules(ctx context.Context, _ []string) error {
	return gatekeeper.Replace(ctx, gateSocket, os.Stdin, os.Stdout)
}

// tellFacts prints what the docker backend wants to know of the engine's machine, in whose network it is run.
func tellFacts(context.Context, []string) error {
	facts, err := gatekeeper.Facts()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(facts)
}
