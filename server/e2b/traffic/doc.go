// Package traffic answers requests for a port of a sandbox, as E2B's proxy does.
//
// It owns what all of them have in common: the answers when there is no sandbox or no server, the traffic token, waking a paused
// sandbox, the sudden end of requests when a sandbox is killed; and the reverse proxy to servers that code has started
// (proxy.go), websockets included. Two ports are services of the daemon's own and are handed to their packages: envd's and the
// code interpreter's. Which sandbox and port a request is for the server has found out before: fleet.From and fleet.TargetOf.
//
// A Handler may serve any number of requests at once. It keeps connections to servers in sandboxes for later requests; they end with their
// sandbox, or by Close. Start at New.
package traffic
