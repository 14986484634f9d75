// Command modes asks for a backend by name and tells which one it got, and why.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func main() {
	ctx := context.Background()
	for _, name := range []string{"auto", "local", "docker"} {
		engine, err := sandbox.Open(ctx, sandbox.Config{DefaultBackend: name})
		if errors.Is(err, backends.ErrUnsupported) {
			fmt.Printf("%s: not in this version\n", name)
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		choice := engine.Choice()
		fmt.Printf("%s: %s, because %s; %s\n", name, choice.Backend, choice.Reason, choice.Detail)
		if err := engine.Close(ctx); err != nil {
			log.Fatal(err)
		}
	}
}
