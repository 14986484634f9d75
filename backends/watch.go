package backends

import "context"

// WatchOptions of FileSystem.Watch. Nil and zero fields are the defaults.
type WatchOptions struct {
	Recursive bool // folders below are watched too, those made or moved in later included
	Entry     bool // events of WatchCreate, WatchWrite and WatchChmod carry the entry, while it is there
}

// Watch tells what changes in a folder. The caller ends it with Close.
//
// When its reader is slow, writes and mode changes of one entry are merged. When more events gather than are kept, those
// kept are told and then one of WatchOverflow, which stands for all that were lost.
type Watch interface {
	// Next waits for the next event; ctx bounds this wait only, and an event that is there already is returned even when
	// ctx is done. Errors: io.EOF after Close, ErrDestroyed, ErrWatchLimit, fs.ErrNotExist when the watched folder itself
	// was removed or moved. Such an error comes after the events before it and stays.
	Next(ctx context.Context) (FileEvent, error)
	// Close ends the watch and waits for its goroutines. It is idempotent.
	Close() error
}

// FileEvent is one change in a watched folder.
type FileEvent struct {
	Name  string    `json:"name"` // relative to the watched folder, with slashes; "." is that folder
	Op    WatchOp   `json:"op"`
	Entry *FileInfo `json:"entry,omitempty"` // as it is when the event is read; see WatchOptions.Entry
}

// WatchOp says what happened to an entry.
type WatchOp string

// What can happen to an entry. A folder that is removed or moved away takes all below it along without further
// events; one that is moved in comes with a WatchCreate for everything in it.
const (
	WatchCreate   WatchOp = "create"   // it was made, or moved to this name
	WatchWrite    WatchOp = "write"    // a file's contents changed
	WatchRemove   WatchOp = "remove"   // it was removed
	WatchRename   WatchOp = "rename"   // it was moved away from this name
	WatchChmod    WatchOp = "chmod"    // its mode, owner, times or metadata changed
	WatchOverflow WatchOp = "overflow" // events were lost: list the folder to know what is there
)
