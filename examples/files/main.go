// Command files moves files in and out of a sandbox's workspace.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	sbx, err := sandbox.Create(ctx, nil)
	if err != nil {
		return err
	}
	defer sbx.Kill(ctx) //nolint:errcheck // the program ends here
	files := sbx.Files()

	err = files.WriteAll(ctx,
		sandbox.File{Name: "in/names.txt", Data: strings.NewReader("ada\ngrace\n")},
		sandbox.File{Name: "in/ages.txt", Data: strings.NewReader("36\n85\n")},
	)
	if err != nil {
		return err
	}
	out, err := sbx.RunCode(ctx, `
from pathlib import Path
names = Path("in/names.txt").read_text().split()
ages = Path("in/ages.txt").read_text().split()
Path("people.csv").write_text("name,age\n" + "\n".join(map(",".join, zip(names, ages))))
`, nil)
	if err != nil {
		return err
	}
	for _, change := range out.Usage.Files {
		fmt.Println("the run", change.Op, change.Path)
	}

	text, err := files.ReadString(ctx, "people.csv")
	if err != nil {
		return err
	}
	fmt.Println(text)

	r, err := files.Open(ctx, "/home/user/people.csv") // the same file, as a stream
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	fmt.Println("streamed", n, "bytes")

	if err := files.Rename(ctx, "people.csv", "out/people.csv"); err != nil {
		return err
	}
	infos, err := files.List(ctx, "")
	if err != nil {
		return err
	}
	for _, info := range infos {
		fmt.Println(info.Type, info.Name)
	}

	_, err = files.Read(ctx, "../../etc/passwd")
	fmt.Println("outside:", errors.Is(err, backends.ErrOutside))
	return files.Remove(ctx, "in")
}
