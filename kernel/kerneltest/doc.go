// Package kerneltest plays the kernel's side of the wire, for tests that need no Python.
//
// A [Kernel] answers as ipykernel does: busy, execute_input, outputs, reply, idle, each with the right parent; one
// request of the shell channel at a time, the control channel meanwhile. Code without a script is echoed on
// stdout. Scripts for code ([Kernel.On]) and for other requests ([Kernel.Handle]) send outputs through a [Call]; the
// raw kinds ([Kernel.OnRaw], [Kernel.HandleRaw]) send everything themselves, in any order, or not at all.
//
// A client reaches the kernel over [Pipe], in memory and fit for a bubble of testing/synctest, or over [Listen], real
// sockets. Messages are encoded and signed on both. [Hostile] is a table of kernels that mean harm; [FloodCode] makes any
// fake kernel send messages as fast as a socket takes them, [StartProcess] one in a process of its own.
//
// # Concurrency
//
// A Kernel has one goroutine for shell and one for control, two for each connection of a socket, and those that
// scripts start with [Call.Go]. [Kernel.Close] ends all and waits for them. All methods may be called by several goroutines.
//
// The package knows nothing of package kernel, whose tests it serves. Start at [New].
package kerneltest
