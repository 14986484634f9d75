// Package backendtest is the one suite that every backend passes, and what tests with real kernels share.
//
// Start at [EachPython].
package backendtest
