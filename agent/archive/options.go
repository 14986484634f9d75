package archive

import (
	"os"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Options of Pack and Unpack. Nil and zero fields are the defaults.
type Options struct {
	// OnProgress hears of every entry before it is copied, and of long files as they go. It must not block.
	OnProgress func(backends.Progress)
	// OutwardLinks lets Unpack make symbolic links that lead out of the folder. Without it these are ErrOutside.
	OutwardLinks bool
	// SkipOutward lets Unpack leave these out instead, and go on.
	SkipOutward bool
	// Inside are absolute paths that the folder had where it was packed. Unpack makes links to what is in it relative.
	Inside []string
	// Take is asked by Unpack for room on the disk, in bytes, before it is used. An error ends the Unpack.
	Take func(n int64) error
	// Remove lets Unpack remove what entries with RemoveRecord name. Without it these are files like others.
	Remove func(root *os.Root, name string) error
	// Strict makes Pack's error name all that is left out, and files that changed whenever they were read.
	Strict bool
	// Follow makes Pack take what links lead to in their place.
	Follow Follow
	// Difference makes Pack send only what differs from another tree; nil sends all.
	Difference *Difference
	// Count is where Pack and Unpack count; nobody else may look before they end.
	Count *Count
}

// Count is what a Pack or Unpack did.
type Count struct {
	Sent      int   // files and links
	Unchanged int   // files and links that Difference found to be the same
	Deleted   int   // entries whose removal was sent
	Bytes     int64 // of files' contents
}
