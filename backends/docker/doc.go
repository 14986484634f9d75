// Package docker makes instances that are containers of a Docker engine, here or elsewhere.
//
// A container has nothing of ours but one program, the agent (cmd/ds-sandbox-agent), its init. The host speaks to it through
// the engine: an exec starts the agent's bridge, whose input and output are the connection (exec.go). So a container needs no
// network, publishes no port and shares no socket with us, and the engine may be anywhere. Package agent/remote makes of that
// connection a backends.Instance; here is what the engine does: images (image.go, build.go), what a container is made with (container.go,
// mounts.go), its end (events.go), figures, snapshots, and the containers of dead programs (owner.go, sweep.go).
//
// Nothing that comes from inside a container is trusted; what the engine says is.
//
// Goroutines: a backend's sweep and its watch of the engine's events, and those of agent/remote for each instance.
// Backend.Close waits for all. Start at [Open].
package docker
