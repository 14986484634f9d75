package remote

import (
	"errors"
	"fmt"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
)

// Facts about agents elsewhere.
var (
	// ErrLost says that the agent was not reached for longer than Options.Patience, or is another one than before.
	ErrLost = errors.New("connection to the agent is lost")
	// ErrProtocol says that the agent answered what no agent answers. Its sandbox is not to be trusted any further.
	ErrProtocol = errors.New("the agent breaks the protocol")
	// ErrNoAnswer says that the agent is reached, and did not answer one call in time.
	ErrNoAnswer = errors.New("the agent does not answer")
	// ErrClosed says that Client.Close was called.
	ErrClosed = errors.New("client of the agent is closed")

	// ErrTakenOver says that another host program has opened the kernel.
	ErrTakenOver = agentpb.ErrTakenOver
)

// VersionError says that agent and host speak different versions of the protocol.
type VersionError struct {
	Host, Agent           int    // protocols
	HostBuild, AgentBuild string // versions of the programs; may be empty
}

func (e *VersionError) Error() string {
	older := "the agent in the sandbox is older: make the sandbox again, so that it gets the agent of this program"
	if e.Agent > e.Host {
		older = "this program is older than the agent in the sandbox: update it, or make the sandbox again with this one"
	}
	return fmt.Sprintf("agent speaks protocol %d%s, this program speaks %d%s; %s",
		e.Agent, named(e.AgentBuild), e.Host, named(e.HostBuild), older)
}

func named(build string) string {
	if build == "" {
		return ""
	}
	return " (" + build + ")"
}
