// Package server is the daemon: one listener on which every client of sandboxes finds its protocol.
//
// It owns the configuration (config.go, options.go, file.go), the listener with its bounds (listen.go, bounds.go, tls.go), the router that
// tells the dialects apart by headers, then host, then path (route.go), what all requests have in common (request.go, metrics.go,
// tracing.go), and the end (drain in server.go). The dialects are packages of their own below this one, mounted in mount.go; what they
// share is in the packages access (keys), fault (errors) and fleet (sandboxes).
//
// Goroutines: those of net/http, one that waits for the end, those of the fleet. Server.Serve returns when all have ended.
//
// Start at New.
package server
