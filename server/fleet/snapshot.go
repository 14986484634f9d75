package fleet

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// Snapshot is the files of a sandbox as they were at a moment; neither its variables nor its processes. Its ID and its names are what
// Spec.Template takes. In containers it has all files, elsewhere those of the workspace.
type Snapshot struct {
	ID        string    `json:"id"`
	Names     []string  `json:"names"`   // none for one without a name
	Sandbox   string    `json:"sandbox"` // whose files they are
	CreatedAt time.Time `json:"created_at"`
	Size      int64     `json:"size"` // of its file, bytes; 0 of an image
}

// defaultTag is that of a snapshot for which no other was asked.
const defaultTag = "default"

var snapshotName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// fullName is a name with its owner's before it and a tag behind it.
func fullName(owner *Owner, name string) (string, error) {
	rest := strings.TrimPrefix(name, owner.Name+"/")
	rest, tag, tagged := strings.Cut(rest, ":")
	if !tagged {
		tag = defaultTag
	}
	if !snapshotName.MatchString(rest) || !snapshotName.MatchString(tag) {
		return "", specErrorf("name", "%.80q is no name of a snapshot: use lower-case letters, digits, dashes and underscores, "+
			"and maybe a tag behind a colon", name)
	}
	return owner.Name + "/" + rest + ":" + tag, nil
}

// Snapshot keeps the member's files while it goes on. One of the same name is replaced. Errors: *SpecError, *LimitError,
// backends.ErrUnsupported when the daemon keeps none, ErrNotFound, the cause of ctx.
func (m *Member) Snapshot(ctx context.Context, name string) (Snapshot, error) {
	s := &snapshot{Owner: m.owner.Name, Key: newToken()[:20]}
	s.Sandbox, s.ID = m.id, s.Key+":"+defaultTag
	if name != "" {
		full, err := fullName(m.owner, name)
		if err != nil {
			return Snapshot{}, err
		}
		s.ID, s.Names = full, []string{full}
	}
	err := m.inTurn(ctx, func(ctx context.Context) error { return m.fleet.snapshots.take(ctx, m.sandbox, s) })
	if err != nil {
		return Snapshot{}, err
	}
	m.Log("info", "snapshot taken", map[string]string{"snapshot": s.ID})
	return s.Snapshot, nil
}

// Snapshots lists an owner's, the newest first: all, or those of a sandbox.
func (f *Fleet) Snapshots(owner *Owner, sandboxID string) []Snapshot {
	list := f.snapshots.list(owner.Name)
	if sandboxID != "" {
		list = slices.DeleteFunc(list, func(s Snapshot) bool { return s.Sandbox != sandboxID })
	}
	return list
}

// RemoveSnapshot removes a snapshot by its id or a name. What is still made from it goes on. Error: ErrNoSnapshot.
func (f *Fleet) RemoveSnapshot(_ context.Context, owner *Owner, id string) error {
	return f.snapshots.remove(owner.Name, id)
}

// restore puts a snapshot's files in a sandbox, where they are not in its image.
func (b *base) restore(ctx context.Context, f *Fleet, sbx *sandbox.Sandbox) error {
	if b.snapshot == nil || b.snapshot.Image != "" {
		return nil
	}
	file, err := f.snapshots.open(b.snapshot)
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", b.snapshot.ID, err)
	}
	return errors.Join(sbx.Files().Import(ctx, "", file), file.Close())
}

// Forked is one of the sandboxes that a Fork was to make: a member, or why there is none.
type Forked struct {
	Member *Member
	Err    error
}

// maxForks bounds one call of Fork.
const maxForks = 100

// Fork makes sandboxes that go on from where this one is: with the memory of its default context where the backend can copy it (local),
// and always with its files. They are like this one but for their time, 0 being this one's. Errors: *SpecError, ErrNotFound, ErrPaused,
// those of sandbox.Sandbox.Fork; what keeps single ones from being there stands with them.
func (m *Member) Fork(ctx context.Context, count int, timeout time.Duration) ([]Forked, error) {
	if count < 1 || count > maxForks {
		return nil, specErrorf("count", "%d: use 1 to %d", count, maxForks)
	}
	m.mu.Lock()
	spec, paused := m.spec.clone(), m.state == Paused
	m.mu.Unlock()
	if paused {
		return nil, ErrPaused
	}
	if timeout != 0 {
		if err := m.checkTimeout(timeout); err != nil {
			return nil, err
		}
		spec.Timeout = timeout
	}
	var forks []Forked
	err := m.inTurn(ctx, func(ctx context.Context) (err error) {
		forks, err = m.forkMemory(ctx, spec, count)
		if errors.Is(err, backends.ErrUnsupported) {
			forks, err = m.forkFiles(ctx, spec, count)
		}
		return err
	})
	return forks, err
}

// forkMemory copies the default context too. As many are made as there is room for.
func (m *Member) forkMemory(ctx context.Context, spec Spec, count int) ([]Forked, error) {
	f, begun := m.fleet, time.Now()
	forks, places := make([]Forked, count), []func(){}
	limits := m.sandbox.Info().Limits
	for i := range forks {
		giveBack, err := f.ledger.takeSandbox(m.owner, limits.Memory)
		if err != nil {
			forks[i].Err = err
			continue
		}
		places = append(places, giveBack)
	}
	if len(places) == 0 {
		return forks, nil
	}
	made, err := m.sandbox.Fork(ctx, len(places), &sandbox.ForkOptions{TimeToLive: sandbox.NoTimeout, Metadata: spec.Metadata})
	if err != nil {
		for _, giveBack := range places {
			giveBack()
		}
		return nil, err
	}
	for i, sbx := range made { // the first places were there to take
		from := &base{template: m.template, alias: m.alias}
		forks[i].Member, forks[i].Err = f.enlist(newMember(f, sbx, m.owner, spec.clone(), from, places[i]), begun)
	}
	return forks, nil
}

// forkFiles makes the forks from a snapshot, which goes with the last of them.
func (m *Member) forkFiles(ctx context.Context, spec Spec, count int) ([]Forked, error) {
	f := m.fleet
	s := &snapshot{Owner: m.owner.Name, Key: newToken()[:20], Hidden: true}
	s.Sandbox, s.ID = m.id, s.Key+":"+defaultTag
	if err := f.snapshots.take(ctx, m.sandbox, s); err != nil {
		return nil, err
	}
	f.snapshots.hold(s) // for this call
	defer func() {
		f.snapshots.drop(s)
		f.snapshots.release(s)
	}()
	forks := make([]Forked, count)
	for i := range forks {
		f.snapshots.hold(s)
		from := &base{template: m.template, alias: m.alias, image: s.Image, limits: m.sandbox.Info().Limits, snapshot: s}
		if forks[i].Member, forks[i].Err = f.make(ctx, m.owner, spec.clone(), from); forks[i].Err != nil {
			from.release(f)
		}
	}
	return forks, nil
}
