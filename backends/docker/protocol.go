package docker

import (
	"strconv"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
)

// protocol is the version of what agents speak, as labels have it.
var protocol = strconv.Itoa(agentpb.Protocol)
