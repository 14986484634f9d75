// Package local keeps sandboxes on this machine: a workspace folder, and processes below one supervisor.
//
// It owns folders: the base folder with the workspaces (ws-ID) and what belongs to them beside (env-ID), and a
// private runtime folder with a short path for sockets. Processes are package agent's. A host program that was
// killed leaves folders behind; the next Open sweeps them, told apart by a lock that each engine holds.
//
// Code in a local sandbox runs as the user of the host program: it is kept apart from the
// workspace's surroundings by convention and by the ways the engine offers, not by walls. For
// hostile code use a container. Start at [Open].
package local
