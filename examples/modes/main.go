// Command modes asks for a backend by name and tells which one it got, and why.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func main() {
	ctx := context.Background()
	for _, name := range []string{"auto", "local", "docker"} {
		engine, err := sandbox.Open(ctx, sandbox.Config{DefaultBackend: name})
		if err != nil {
			fmt.Printf("%s: not here: %v\n", name, err)
			continue
		}
		choice := engine.Choice()
		fmt.Printf("%s: %s, because %s; %s\n", name, choice.Backend, choice.Reason, choice.Detail)
		if err := engine.Close(ctx); err != nil {
			log.Fatal(err)
		}
	}
}
