// Package agentbinary finds the program that runs in containers, ds-sandbox-agent, for the engine's architecture: a file that is
// named, or one that was built into this program (build tag embed_agent; `make build` does). Start at [Find].
package agentbinary
