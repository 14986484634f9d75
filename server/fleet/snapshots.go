package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// maxSnapshots bounds how many are kept, of all owners.
const maxSnapshots = 1000

// snapshot is one as it is kept: a file <Key>.json and, when it is no image, <Key>.tar.
type snapshot struct {
	Snapshot
	Owner  string `json:"owner"`
	Key    string `json:"key"`
	Image  string `json:"image,omitempty"`  // of the engine; without one it is a tar file of the workspace
	Hidden bool   `json:"hidden,omitempty"` // it is for a fork's time only

	uses    int  // by members, and by who makes one; guarded like removed by snapshots.mu
	removed bool // nobody can find it; it goes with its last use
}

// snapshots are those of a daemon, in a folder of its own.
type snapshots struct {
	fleet *Fleet
	dir   string // "" keeps none

	mu    sync.Mutex // guards what follows
	known []*snapshot
	used  int64 // bytes of tar files, those being written too
}

// openSnapshots reads what earlier daemons kept.
func openSnapshots(f *Fleet) (*snapshots, error) {
	k := &snapshots{fleet: f, dir: f.options.SnapshotDir}
	if k.dir == "" {
		return k, nil
	}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return nil, err
	}
	names, err := filepath.Glob(filepath.Join(k.dir, "*.json"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		s := new(snapshot)
		data, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(data, s)
		}
		if err == nil && s.Key+".json" != filepath.Base(name) {
			err = errors.New("it is another's")
		}
		if err != nil {
			f.options.Logger.Warn("snapshot can't be read", "file", name, "error", err)
			continue
		}
		k.known = append(k.known, s)
		k.used += s.Size
	}
	for _, s := range slices.Clone(k.known) {
		if s.Hidden { // its daemon died
			k.drop(s)
		}
	}
	return k, nil
}

func (k *snapshots) path(s *snapshot, ext string) string { return filepath.Join(k.dir, s.Key+ext) }

// take keeps a sandbox's files as s, in place of what has its name.
func (k *snapshots) take(ctx context.Context, sbx *sandbox.Sandbox, s *snapshot) error {
	if k.dir == "" {
		return fmt.Errorf("snapshot: %w: this daemon has no folder for them", backends.ErrUnsupported)
	}
	k.mu.Lock()
	full := len(k.known) >= maxSnapshots
	k.mu.Unlock()
	if full {
		return &LimitError{Quota: QuotaSnapshots, Allowed: maxSnapshots, RetryAfter: sandboxRetry}
	}
	image, err := sbx.Snapshot(ctx)
	switch {
	case errors.Is(err, backends.ErrUnsupported):
		err = k.export(ctx, sbx, s)
	case err == nil:
		s.Image = image
	}
	if err != nil {
		return err
	}
	s.CreatedAt = time.Now()
	if err := k.write(s); err != nil {
		k.discard(s)
		return fmt.Errorf("snapshot: %w", err)
	}
	k.mu.Lock()
	var old *snapshot
	if i := slices.IndexFunc(k.known, func(o *snapshot) bool { return o.Owner == s.Owner && o.ID == s.ID }); i >= 0 {
		old = k.known[i]
	}
	k.known = append(k.known, s)
	k.mu.Unlock()
	if old != nil {
		k.drop(old)
	}
	return nil
}

// export writes the workspace's files.
func (k *snapshots) export(ctx context.Context, sbx *sandbox.Sandbox, s *snapshot) error {
	file, err := os.OpenFile(k.path(s, ".tar"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	w := &countedWriter{w: file, snapshots: k}
	err = sbx.Files().Export(ctx, "", w)
	var skipped *sandbox.SkippedError
	if errors.As(err, &skipped) { // what the code itself may not read: all else is there
		k.fleet.options.Logger.Info("snapshot without what may not be read", "sandbox", sbx.ID(), "skipped", skipped)
		err = nil
	}
	err = errors.Join(err, file.Close())
	s.Size = w.written
	if err != nil {
		k.discard(s)
		if w.full != nil {
			return w.full
		}
		return err
	}
	return nil
}

// countedWriter counts what all snapshots take, and ends where there is no more room.
type countedWriter struct {
	w         io.Writer
	snapshots *snapshots
	written   int64
	full      error
}

func (c *countedWriter) Write(p []byte) (int, error) {
	k, most := c.snapshots, c.snapshots.fleet.options.SnapshotBytes
	k.mu.Lock()
	fits := k.used+int64(len(p)) <= most
	if fits {
		k.used += int64(len(p))
		c.written += int64(len(p))
	}
	k.mu.Unlock()
	if !fits {
		c.full = &LimitError{
			Quota: QuotaSnapshots, Allowed: maxSnapshots, RetryAfter: sandboxRetry,
			Note: fmt.Sprintf("those there are take %d MB of %d", k.used>>20, most>>20),
		}
		return 0, c.full
	}
	return c.w.Write(p)
}

// write makes a snapshot known to later daemons.
func (k *snapshots) write(s *snapshot) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	unfinished := k.path(s, ".new")
	if err := os.WriteFile(unfinished, data, 0o600); err != nil {
		return err
	}
	return os.Rename(unfinished, k.path(s, ".json"))
}

// find is an owner's by id, name, or either without the tag; mu is held.
func (k *snapshots) find(owner, id string) *snapshot {
	for _, wanted := range []string{id, id + ":" + defaultTag, owner + "/" + id, owner + "/" + id + ":" + defaultTag} {
		for _, s := range k.known {
			if s.Owner == owner && !s.Hidden && (s.ID == wanted || slices.Contains(s.Names, wanted)) {
				return s
			}
		}
	}
	return nil
}

// get describes an owner's snapshot.
func (k *snapshots) get(owner, id string) (Snapshot, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.find(owner, id); s != nil {
		return s.Snapshot, true
	}
	return Snapshot{}, false
}

func (k *snapshots) list(owner string) []Snapshot {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := []Snapshot{}
	for _, s := range k.known {
		if s.Owner == owner && !s.Hidden {
			list = append(list, s.Snapshot)
		}
	}
	slices.SortFunc(list, func(a, b Snapshot) int {
		if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list
}

// use finds a snapshot and holds it.
func (k *snapshots) use(owner *Owner, id string) (*snapshot, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.find(owner.Name, id)
	if s == nil {
		return nil, fmt.Errorf("%w: %q", ErrNoSnapshot, id)
	}
	s.uses++
	return s, nil
}

// hold keeps a snapshot's data until release.
func (k *snapshots) hold(s *snapshot) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s.uses++
}

func (k *snapshots) release(s *snapshot) {
	k.mu.Lock()
	s.uses--
	last := s.removed && s.uses == 0
	k.mu.Unlock()
	if last {
		k.discard(s)
	}
}

func (k *snapshots) open(s *snapshot) (io.ReadCloser, error) { return os.Open(k.path(s, ".tar")) }

// remove makes a snapshot one that nobody finds.
func (k *snapshots) remove(owner, id string) error {
	k.mu.Lock()
	s := k.find(owner, id)
	k.mu.Unlock()
	if s == nil || !k.drop(s) {
		return fmt.Errorf("%w: %q", ErrNoSnapshot, id)
	}
	return nil
}

// drop forgets a snapshot; its data goes with its last use. It reports whether it was known.
func (k *snapshots) drop(s *snapshot) bool {
	k.mu.Lock()
	i := slices.Index(k.known, s)
	if i >= 0 {
		k.known = slices.Delete(k.known, i, i+1)
		s.removed = true
	}
	last := i >= 0 && s.uses == 0
	k.mu.Unlock()
	if last {
		k.discard(s)
	}
	return i >= 0
}

// discard removes a snapshot's data. What uses it goes by its hold, so a failure harms nobody but the disk.
func (k *snapshots) discard(s *snapshot) {
	var errs []error
	for _, ext := range []string{".json", ".tar", ".new"} {
		if err := os.Remove(k.path(s, ext)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if s.Image != "" {
		errs = append(errs, k.fleet.engine.RemoveSnapshot(context.Background(), s.Image))
	}
	k.mu.Lock()
	k.used -= s.Size
	k.mu.Unlock()
	if err := errors.Join(errs...); err != nil {
		k.fleet.options.Logger.Warn("remove snapshot", "snapshot", s.ID, "error", err)
	}
}
