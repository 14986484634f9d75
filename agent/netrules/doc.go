// Package netrules is what a sandbox may reach, as plain values: sorted ranges of addresses, names, and where names are asked for.
//
// It owns the arithmetic of ranges ([Set]), the matching of names ([Names]) and the form ([Rules]) in which the docker backend
// hands a compiled backends.Network to the helper that enforces it. It opens no sockets, has no goroutines and builds on every system,
// so that the two sides share one idea of "admitted". Start at [Rules].
package netrules
