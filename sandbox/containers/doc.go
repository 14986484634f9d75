// Package containers holds the tests of package sandbox in containers, and nothing else: apart from the others they run beside them. What
// an engine must do for them is in package backends/docker.
package containers
