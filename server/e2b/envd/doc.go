// Package envd serves E2B's in-sandbox API for the sandboxes of a fleet: files by plain requests, and the Connect services
// filesystem.Filesystem and process.Process, in JSON and binary.
//
// It owns what that protocol says and a sandbox does not know: access tokens and signatures, users by basic authentication, how paths
// are resolved, watchers that are asked for their events, the configuration that a process was started with. What is done with files and
// processes is package sandbox's. Which sandbox a request is for has been decided by the router: see fleet.From. In a container
// everything is there; a sandbox of the local backend has one user and its workspace, which /home/user means, and what lies
// beyond is refused in the protocol's form.
//
// A request has its own goroutine and no others. One that belongs to a sandbox which is killed is cut, without a proper end, which is how
// clients know. A client that does not read for a while is given up; what it started runs on.
//
// Start at New. Section numbers in comments are those of the notes on E2B's protocol that the code was written from.
package envd
