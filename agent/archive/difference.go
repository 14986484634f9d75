package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"path"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// RemoveRecord marks an entry of a tar stream that stands for nothing: what has its name is to go.
const RemoveRecord = "DSSANDBOX.remove"

// ErrOrder says that a listing was not in the order of Walk, without which nothing can be told from it.
var ErrOrder = errors.New("the listing of the other side is out of order")

// Difference makes Pack send what differs from the tree on the other side only. Both are gone through once, side by side in the
// same order, so that it takes no memory however large they are.
type Difference struct {
	// Next tells the other side's entries, in the order of Walk; nil after the last.
	Next func() (*backends.TreeEntry, error)
	All  bool // send what does not differ, too
	Hash bool // files of one size and mode are told apart by their hash, not by their time
	// Delete sends the removal of what is on the other side alone, and of what is in the way. What Pack left out stays there.
	Delete bool

	other *backends.TreeEntry // the other side's first that is not dealt with
	begun bool
}

// step goes to the other side's next entry.
func (d *Difference) step() error {
	before := d.other
	next, err := d.Next()
	if err != nil {
		return err
	}
	if next != nil && (!validName(next.Name) || before != nil && compareNames(before.Name, next.Name) >= 0) {
		return ErrOrder
	}
	d.other = next
	return nil
}

func validName(name string) bool {
	return name != "" && name != "." && path.Clean("/" + name)[1:] == name && !strings.ContainsRune(name, 0)
}

// compareNames compares names in the order of Walk: a folder's contents follow it before all that is beside it.
func compareNames(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			continue
		}
		if a[i] == '/' {
			return -1
		}
		if b[i] == '/' {
			return 1
		}
		return int(a[i]) - int(b[i])
	}
	return len(a) - len(b)
}

func isBelow(name, folder string) bool {
	return len(name) > len(folder) && name[len(folder)] == '/' && name[:len(folder)] == folder
}

// upTo deals with what is on the other side alone, before a name; "" is the end.
func (p *packer) upTo(name string) error {
	d := p.opts.Difference
	if !d.begun {
		d.begun = true
		if err := d.step(); err != nil {
			return err
		}
	}
	for d.other != nil && (name == "" || compareNames(d.other.Name, name) < 0) {
		if err := p.without(d.Delete); err != nil {
			return err
		}
	}
	return nil
}

// without passes the other side's entry and all below it, and sends its removal on wish.
func (p *packer) without(remove bool) error {
	d := p.opts.Difference
	top := d.other.Name
	if remove {
		err := p.tar.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: top, Format: tar.FormatPAX, PAXRecords: map[string]string{RemoveRecord: "1"},
		})
		if err != nil {
			return err
		}
	}
	for {
		if remove {
			p.count.Deleted++
		}
		if err := d.step(); err != nil || d.other == nil || !isBelow(d.other.Name, top) {
			return err
		}
		if p.ctx.Err() != nil {
			return context.Cause(p.ctx)
		}
	}
}

// spare passes what the other side has of an entry that was left out here.
func (p *packer) spare(name string) error {
	if p.opts.Difference == nil {
		return nil
	}
	if err := p.upTo(name); err != nil {
		return err
	}
	for d := p.opts.Difference; d.other != nil && (d.other.Name == name || isBelow(d.other.Name, name)); {
		if err := d.step(); err != nil {
			return err
		}
	}
	return nil
}

// differs reports whether an entry is to be sent. f is the open file of one.
func (p *packer) differs(e *backends.TreeEntry, f *os.File) (bool, error) {
	d := p.opts.Difference
	if d == nil {
		return true, nil
	}
	if err := p.upTo(e.Name); err != nil {
		return false, err
	}
	other := d.other
	if other == nil || other.Name != e.Name {
		return true, nil
	}
	if other.Type != e.Type && (other.Type == backends.TypeDir || e.Type == backends.TypeDir) {
		return true, p.without(d.Delete) // what is in the way
	}
	if err := d.step(); err != nil {
		return false, err
	}
	if d.All || other.Type != e.Type {
		return true, nil
	}
	switch e.Type {
	case backends.TypeDir:
		return other.Mode != e.Mode|0o700, nil // as Unpack makes them
	case backends.TypeLink:
		return other.Target != e.Target, nil
	}
	if other.Size != e.Size || other.Mode != e.Mode {
		return true, nil
	}
	if !d.Hash {
		return !other.ModTime.Equal(e.ModTime), nil
	}
	hash, err := hashOf(p.ctx, f, p.buf)
	return !bytes.Equal(hash, other.Hash), err
}
