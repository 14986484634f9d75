package archive_test

import (
	"io"
	"iter"
	"testing"

	"github.com/ds-sandbox/ds-sandbox/agent/archive"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// BenchmarkNothingChanged goes through two trees of one kind, of which nothing is sent.
func BenchmarkNothingChanged(b *testing.B) {
	root := smallFiles(b, 2000)
	for b.Loop() {
		next, stop := iter.Pull2(entriesOf(b.Context(), root, false))
		count := new(archive.Count)
		err := archive.Pack(b.Context(), root, ".", io.Discard, &archive.Options{Count: count, Difference: &archive.Difference{
			Next: func() (*backends.TreeEntry, error) {
				e, err, _ := next()
				return e, err
			},
		}})
		stop()
		if err != nil || count.Unchanged != 2000 {
			b.Fatal(err, count)
		}
	}
}
