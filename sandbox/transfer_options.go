package sandbox

import (
	"errors"
	"fmt"

	"github.com/ds-sandbox/ds-sandbox/agent/archive"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Progress is how far a transfer is.
type Progress = backends.Progress

// TransferOptions of Upload and Download. Nil and zero fields are the defaults.
type TransferOptions struct {
	// OnProgress hears of every entry before it is copied, and of long files every 8 MiB. It must not block.
	OnProgress func(Progress)
	// AllowSkipped makes it no error that entries were left out: Transferred.Skipped tells of them alone.
	AllowSkipped bool
	// Links is what becomes of links that lead out of the tree, in a Download; LinksSkip.
	Links LinkPolicy

	// Follow says which links an Upload follows; FollowNone.
	Follow FollowPolicy
	// Changed is how an Upload finds out which files have changed, and need be sent; ChangedAny sends all.
	Changed ChangePolicy
	// Delete makes an Upload of a folder remove what is in the workspace's folder and not in this machine's. What had to be left out
	// here stays there.
	Delete bool
}

// LinkPolicy is what becomes of a symbolic link that leads out of the tree it is downloaded with.
type LinkPolicy string

// The policies. Links that name what is in the tree by a whole path come out as relative ones, whatever the policy.
const (
	LinksSkip LinkPolicy = "skip" // it is left out, and told of by a *SkippedError when all else is there
	LinksKeep LinkPolicy = "keep" // it is made as it is; on this machine it may lead anywhere, or nowhere
	LinksFail LinkPolicy = "fail" // it ends the download with ErrOutside
)

// FollowPolicy says which symbolic links of this machine an Upload follows. What a link leads to is sent in its place, so code in
// the sandbox reads it: a folder that somebody else has made may have links to what is not meant for that.
type FollowPolicy string

// The policies. Links that are not followed are named by a *SkippedError, as are those that lead nowhere or in a circle.
const (
	FollowNone   FollowPolicy = ""       // links are sent as links
	FollowInside FollowPolicy = "inside" // those that stay in the folder; others are left out
	FollowAll    FollowPolicy = "all"    // wherever they lead on this machine
)

// ChangePolicy says how an Upload tells that a file is the same in the workspace. Files of another size or mode never are.
type ChangePolicy string

// The policies.
const (
	ChangedAny  ChangePolicy = ""     // never: all is sent
	ChangedTime ChangePolicy = "time" // by the time of its last change, to the nanosecond, which uploads keep
	ChangedHash ChangePolicy = "hash" // by its contents, which both sides read in full
)

// Facts about what was left out of an Upload.
var (
	ErrVanished = backends.ErrVanished
	ErrChanged  = backends.ErrChanged
	ErrLoop     = backends.ErrLoop
)

// SkippedError says that an upload, a download, an export or a copy of a tree is complete but for some entries.
type SkippedError = backends.SkippedError

// Transferred is what an Upload or a Download did, even when it ended with an error.
type Transferred struct {
	Sent      int           // files and links
	Unchanged int           // files and links that were the same already, see TransferOptions.Changed
	Deleted   int           // entries that TransferOptions.Delete removed
	Bytes     int64         // of files' contents
	Skipped   *SkippedError // what was left out, and why; nil when nothing was
}

// end is a transfer's result and error.
func (o *TransferOptions) end(count *archive.Count, err error) (*Transferred, error) {
	t := &Transferred{Sent: count.Sent, Unchanged: count.Unchanged, Deleted: count.Deleted, Bytes: count.Bytes}
	if errors.As(err, &t.Skipped) && o != nil && o.AllowSkipped {
		err = nil
	}
	return t, err
}

// upload checks the options and makes those of package archive, but for what differs.
func (o *TransferOptions) upload() (*archive.Options, error) {
	out := &archive.Options{Strict: true, Count: new(archive.Count)}
	if o == nil {
		return out, nil
	}
	switch o.Changed {
	case ChangedAny, ChangedTime, ChangedHash:
	default:
		return out, fmt.Errorf("changed %q: use %q or %q", o.Changed, ChangedTime, ChangedHash)
	}
	switch o.Follow {
	case FollowNone, FollowInside, FollowAll:
	default:
		return out, fmt.Errorf("follow %q: use %q or %q", o.Follow, FollowInside, FollowAll)
	}
	out.OnProgress, out.Follow = o.OnProgress, archive.Follow(o.Follow)
	return out, nil
}

// download checks the options and makes those of package archive.
func (o *TransferOptions) download() (*archive.Options, error) {
	out := &archive.Options{Count: new(archive.Count)}
	if o == nil {
		out.SkipOutward = true
		return out, nil
	}
	if o.Follow != FollowNone || o.Changed != ChangedAny || o.Delete {
		return out, fmt.Errorf("%w: Follow, Changed and Delete are for uploads", backends.ErrUnsupported)
	}
	out.OnProgress = o.OnProgress
	switch o.Links {
	case "", LinksSkip:
		out.SkipOutward = true
	case LinksKeep:
		out.OutwardLinks = true
	case LinksFail:
	default:
		return out, fmt.Errorf("links %q: use %q, %q or %q", o.Links, LinksSkip, LinksKeep, LinksFail)
	}
	return out, nil
}
