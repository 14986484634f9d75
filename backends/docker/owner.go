package docker

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/google/uuid"
)

// owner is who containers belong to: a lock that is held as long as the program lives, however it ends. Its containers name it,
// so that others of this user on this machine, and nobody else, can tell that it is dead.
type owner struct {
	id    string
	place string // tells the folder of the lock from all others, on other machines too
	root  *os.Root
	file  *os.File
}

// newOwner makes a lock. The caller closes it.
func newOwner() (*owner, error) {
	dir := filepath.Join(os.TempDir(), "ds-sandbox-"+strconv.Itoa(os.Geteuid()), "docker")
	if base := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(base) {
		if info, err := os.Stat(base); err == nil && info.IsDir() && ownedByUs(info) {
			dir = filepath.Join(base, "ds-sandbox", "docker")
		}
	}
	o, err := holdIn(dir)
	if err != nil {
		return nil, fmt.Errorf("docker: folder for locks: %w; choose another with TMPDIR", err)
	}
	return o, nil
}

func holdIn(dir string) (_ *owner, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for _, d := range []string{filepath.Dir(dir), dir} {
		info, err := os.Lstat(d)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() || !ownedByUs(info) || info.Mode().Perm()&0o022 != 0 {
			return nil, fmt.Errorf("%s is not a folder of yours alone", d)
		}
	}
	o := &owner{id: uuid.NewString()}
	if o.root, err = os.OpenRoot(dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.root.Close())
		}
	}()
	info, err := o.root.Stat(".")
	if err != nil {
		return nil, err
	}
	o.place = placeOf(info)
	// Seen by others only once it is locked.
	temporary := "." + o.id
	if o.file, err = o.root.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, err
	}
	if err = flock(o.file); err == nil {
		err = o.root.Rename(temporary, o.id)
	}
	if err != nil {
		return nil, errors.Join(err, o.file.Close(), o.root.Remove(temporary))
	}
	return o, nil
}

// placeOf names a folder among those of all machines that may use one engine.
func placeOf(info fs.FileInfo) string {
	name, _ := os.Hostname()
	machine, _ := os.ReadFile("/etc/machine-id")
	text := name + "\x00" + string(machine)
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		text += fmt.Sprintf("\x00%d\x00%d", st.Dev, st.Ino)
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

func (o *owner) short() string { return o.id[:8] }

// dead reports whether another owner with a lock in our folder is dead. It is asked about owners whose lock was in this
// folder: one without a file has closed and left something.
func (o *owner) dead(id string) bool {
	if _, err := uuid.Parse(id); err != nil || id == o.id {
		return false
	}
	f, err := o.root.OpenFile(id, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer func() { _ = f.Close() }()
	return flock(f) == nil
}

// forget removes the lock of a dead owner.
func (o *owner) forget(id string) {
	if _, err := uuid.Parse(id); err == nil && o.dead(id) {
		_ = o.root.Remove(id)
	}
}

func (o *owner) close() error {
	err := o.root.Remove(o.id)
	if errors.Is(err, fs.ErrNotExist) { // whoever cleans the folder of temporary files
		err = nil
	}
	return errors.Join(err, o.file.Close(), o.root.Close())
}

func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func ownedByUs(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}
