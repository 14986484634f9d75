// Package firewall makes a network namespace obey netrules.Rules, by nftables through netlink: no program of the image is needed.
//
// It owns the tables ds_sandbox of the namespace that its process runs in, which needs NET_ADMIN there. Rules are replaced in one
// transaction; connections that are no longer admitted are cut. What names led to is kept in sets of the kernel whose elements expire, so
// that a helper that dies leaves a namespace that admits less and less. Linux only; a [Firewall] may be used by many goroutines and has
// none of its own. Start at Open.
package firewall
