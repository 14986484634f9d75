// Package guard keeps the network rules of containers: it makes the network they are on, and for each a helper container that joins
// its network namespace with NET_ADMIN and holds firewall and resolver (agent/gatekeeper).
//
// It owns the helpers, which are labelled with the container they belong to, the helper's image (nothing but the agent) and what a
// container's configuration must and must not have for rules to hold ([Guard.Prepare]). It doesn't own the containers themselves.
// A [Guard] may be used by many goroutines; calls about one container must come one after another. It has no goroutines of its own.
//
// What rules can't promise: addresses are shared, so who allows a domain of a content network allows its neighbours there, and what was
// allowed by name stays so while packets are sent; names below an allowed "*." domain carry data to its owner; an address that leads back
// to the host without its knowledge must be named by Options.Host; rate and volume are not bounded; rootless engines don't see the real
// host's addresses, of which private ones are refused anyhow. Nobody may connect such a container to further networks, or restart it.
//
// Start at [New]; then Prepare, start the container, Apply, and only then run code in it.
package guard
