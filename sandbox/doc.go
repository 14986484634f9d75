// Package sandbox runs code for people and programs: E2B's words over Jupyter's kernels.
//
// An [Engine] owns what the sandboxes of a program share: the backend, the registry, the limits. A [Sandbox] is an
// isolated place with a workspace folder and one or more contexts; a [Context] is one stateful interpreter. [Sandbox.RunCode]
// runs code and returns an [Execution] with everything the code showed; [Sandbox.StartCode] is its pull form.
//
// What the code raised is data, Execution.Error; what kept it from running is a Go error. Both can come
// with output: RunCode returns what there was in either case.
//
// All methods may be called by several goroutines. Runs of one context follow one another in the order of their
// calls; those of different contexts run in parallel. Callbacks run on the goroutine that called RunCode (or Run.Next),
// one at a time, in the order of the wire. The package has one goroutine of its own for each sandbox with a
// time to live, a timer.
//
// Start at [Create].
package sandbox
