package main

import (
	"fmt"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
)

// describe names the build and the protocol, which must be the host's.
func describe() string { return fmt.Sprintf("%s protocol %d", version, agentpb.Protocol) }
