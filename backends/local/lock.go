package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/google/uuid"
)

// A lock is a file that its owner holds locked as long as it lives, however it ends. Others see the file only once
// it is locked: one that can be locked belongs to somebody who is dead.

// note is what a lock's file says.
type note struct {
	Base string `json:"base,omitempty"` // base folder of the sandbox
	Mark string `json:"mark,omitempty"` // of the sandbox's processes
}

// maxNote bounds a note, bytes: the code of a sandbox can write there.
const maxNote = 16 << 10

// hold makes a lock. It lasts until the file is closed, which the caller does.
func hold(dir *os.Root, name string, n note) (*os.File, error) {
	data, err := json.Marshal(n)
	if err != nil {
		return nil, err
	}
	temporary := name + "-" + uuid.NewString()
	f, err := dir.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	err = flock(f)
	if errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.EINVAL) {
		err = nil // a file system without locks: nothing on it is ever swept, see seize
	}
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = dir.Rename(temporary, name)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", f.Name(), errors.Join(err, f.Close(), dir.Remove(temporary)))
	}
	return f, nil
}

// seize takes the lock of somebody who is dead. It returns nil when the owner lives, and fs.ErrNotExist when there is no lock.
// The caller closes the file.
func seize(dir *os.Root, name string) (*os.File, note, error) {
	f, err := dir.OpenFile(name, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, note{}, err
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || flock(f) != nil {
		return nil, note{}, f.Close()
	}
	// Somebody else may have swept this one meanwhile, and a third have made a new one.
	now, err := dir.Lstat(name)
	if err != nil || !os.SameFile(info, now) {
		return nil, note{}, f.Close()
	}
	var n note
	data, err := io.ReadAll(io.LimitReader(f, maxNote))
	if err == nil {
		_ = json.Unmarshal(data, &n) // whatever the code wrote there, its folders go
	}
	return f, n, nil
}

func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// ours reports whether an entry is a folder of this user.
func ours(info fs.FileInfo) bool { return info.IsDir() && ownerOf(info) == os.Geteuid() }
