// Package backends says what a place for sandboxes is: interfaces and their plain values, no logic.
//
// A [Backend] makes [Instance]s: a folder on this machine, a container, a pod. An Instance owns files and
// starts kernels; a [KernelProcess] is one kernel's process and the way to its sockets. Concrete backends are
// folders below this one; backends/backendtest holds the one suite all of them pass.
//
// Every method may be called by several goroutines. Start at [Backend.Create].
package backends
