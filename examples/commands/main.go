// Command commands runs programs in a sandbox, in the foreground, in the background and on a terminal.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	sbx, err := sandbox.Create(ctx, &sandbox.Options{Lazy: true}) // no kernel before it is needed
	if err != nil {
		return err
	}
	defer sbx.Kill(ctx) //nolint:errcheck // the program ends here
	commands := sbx.Commands()

	// In the foreground: output as it comes, and all of it at the end.
	result, err := commands.Run(ctx, "echo one; echo two >&2; python -c 'print(6 * 7)'", &sandbox.CommandOptions{
		OnStdout: func(data []byte) { fmt.Printf("live: %q\n", data) },
	})
	if err != nil {
		return err
	}
	fmt.Printf("out %q, err %q\n", result.Stdout, result.Stderr)

	// One that fails, and one that takes too long.
	_, err = commands.Run(ctx, "ls /no/such/folder", nil)
	var exit *sandbox.CommandExitError
	fmt.Println("failed:", errors.As(err, &exit), "with", exit.Result.ExitCode)
	_, err = commands.Run(ctx, "sleep 600", &sandbox.CommandOptions{Timeout: 200 * time.Millisecond})
	fmt.Println("timed out:", errors.Is(err, sandbox.ErrTimeout))

	// In the background: found again by its tag, written to, read from, waited for.
	_, err = commands.Start(ctx, "while read line; do echo \"heard $line\"; done", &sandbox.CommandOptions{Stdin: true, Tag: "ears"})
	if err != nil {
		return err
	}
	ears, err := commands.ConnectTag("ears")
	if err != nil {
		return err
	}
	output := ears.Output(true)
	if err := errors.Join(ears.Write(ctx, []byte("you\n")), ears.CloseStdin()); err != nil {
		return err
	}
	for {
		m, err := output.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		fmt.Print(string(m.Data))
	}

	// On a terminal, as `ds-sandbox shell` does.
	terminal, err := commands.StartTerminal(ctx, sandbox.TerminalSize{Cols: 80, Rows: 24}, []string{"stty", "size"}, nil)
	if err != nil {
		return err
	}
	if result, err = terminal.Wait(ctx); err != nil {
		return err
	}
	fmt.Println("terminal of", strings.TrimSpace(result.Stdout))
	return nil
}
