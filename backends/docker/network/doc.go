// Package network turns what a person says about a sandbox's network (backends.Network) into what a helper enforces (netrules.Rules).
//
// It owns the lists' grammar with its mistakes ([Parse]), the table of addresses that nobody asks for by accident, and the order in which
// lists and table count ([Policy.Compile]). It knows no engine, opens no sockets and has no goroutines; package guard brings the rules to
// a container. Start at [Parse].
package network
