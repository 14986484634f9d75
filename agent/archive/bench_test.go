package archive_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/ds-sandbox/ds-sandbox/agent/archive"
)

// smallFiles are in a folder of 100 folders.
func smallFiles(b *testing.B, n int) *os.Root {
	b.Helper()
	dir := b.TempDir()
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprint(i/100))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprint(i)), []byte("a few bytes"), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = root.Close() })
	return root
}

func BenchmarkPackSmallFiles(b *testing.B) {
	root := smallFiles(b, 2000)
	for b.Loop() {
		if err := archive.Pack(b.Context(), root, ".", io.Discard, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnpackSmallFiles(b *testing.B) {
	var stream bytes.Buffer
	if err := archive.Pack(b.Context(), smallFiles(b, 2000), ".", &stream, nil); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		to, err := os.OpenRoot(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		if err := archive.Unpack(b.Context(), to, bytes.NewReader(stream.Bytes()), nil); err != nil {
			b.Fatal(err)
		}
		_ = to.Close()
	}
}
