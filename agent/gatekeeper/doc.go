// Package gatekeeper is the process beside a sandbox that keeps its network's rules: the firewall and the resolver of one network
// namespace, and a socket by which rules are replaced.
//
// It runs in a container of its own that shares nothing with the sandbox but the network, so code in the sandbox can neither signal it
// nor reach its socket, which is a file of that container. [Replace] runs in the same container, started by the engine's exec.
// Linux only. Goroutines: the resolver's, one for the socket, one that watches whether the sandbox is gone; Run waits for them.
package gatekeeper
