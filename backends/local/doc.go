// Package local keeps sandboxes on this machine: a workspace folder, and processes below one supervisor.
//
// It owns folders: the base folder with the workspaces (ws-ID) and what belongs to them beside (env-ID), and a
// private runtime folder with a short path for sockets. Processes are package agent's. A host program that was
// killed leaves folders behind; the next Open sweeps them, told apart by a lock that each engine holds.
//
// Code in a local sandbox runs as the user of the host program. Where the kernel has Landlock it is kept from this user's files, from
// other sandboxes and from signalling what is outside, see [backends.IsolationFiles]; the network is open, and so are the sockets of
// services. For hostile code use a container. Start at [Open].
package local
