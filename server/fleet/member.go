package fleet

import (
	"context"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// State is whether a member's code can go on.
type State string

// The states.
const (
	Running State = "running"
	Paused  State = "paused" // or being paused
)

// EndReason says why a member is no more.
type EndReason string

// The reasons.
const (
	EndedKilled  EndReason = "it was killed"
	EndedTimeout EndReason = "its time was over"
	EndedDaemon  EndReason = "the daemon ended"
	EndedItself  EndReason = "it was ended from outside, or its machine was"
)

// Word is the reason for a figure's label.
func (r EndReason) Word() string {
	switch r {
	case EndedKilled:
		return "kill"
	case EndedTimeout:
		return "timeout"
	case EndedItself:
		return "itself"
	}
	return "daemon"
}

// Member is one sandbox of a fleet. It ends by Kill, by its time, or with the fleet.
type Member struct {
	fleet    *Fleet
	id       string
	owner    *Owner
	sandbox  *sandbox.Sandbox
	template string
	alias    string
	access   string
	traffic  string
	log      logRing

	from     *base  // let go of at the end
	giveBack func() // what the ledger counts

	life   context.Context // ends with the member; its cause is ErrGone
	finish context.CancelCauseFunc
	ended  chan struct{} // closed when nothing is left of it
	endErr error         // what went wrong with that

	turn *semaphore.Weighted // held by a pause, a resume, a fork, a snapshot

	mu      sync.Mutex // guards what follows
	spec    Spec
	state   State
	started time.Time // or resumed
	ends    time.Time // of its life; of the past when it is paused
	timer   *time.Timer
	epoch   int // of the timer; another one whenever the end is set anew
	dead    bool
}

func newMember(f *Fleet, sbx *sandbox.Sandbox, owner *Owner, spec Spec, from *base, giveBack func()) *Member {
	m := &Member{
		fleet: f, id: sbx.ID(), owner: owner, sandbox: sbx, template: from.template, alias: from.alias, access: newToken(),
		from: from, giveBack: giveBack, ended: make(chan struct{}), turn: semaphore.NewWeighted(1), spec: spec, state: Running,
	}
	if !spec.Public {
		m.traffic = newToken()
	}
	m.life, m.finish = context.WithCancelCause(context.Background())
	return m
}

// ID is the sandbox's name.
func (m *Member) ID() string { return m.id }

// Owner is whose it is.
func (m *Member) Owner() *Owner { return m.owner }

// Sandbox is what it is. Its end, its pauses and its network belong to the member.
func (m *Member) Sandbox() *sandbox.Sandbox { return m.sandbox }

// AccessToken opens the interface for files and processes.
func (m *Member) AccessToken() string { return m.access }

// TrafficToken opens the ports of the sandbox; "" when they are open to all.
func (m *Member) TrafficToken() string { return m.traffic }

// Gone is closed when the member is killed: connections to it are to be cut then.
func (m *Member) Gone() <-chan struct{} { return m.life.Done() }

// Attach is a request's context that ends with the member too, with ErrGone as its cause. The function must be called at the
// request's end.
func (m *Member) Attach(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(m.life, func() { cancel(ErrGone) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// StartedAt is when it was made, or resumed last.
func (m *Member) StartedAt() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.started
}

// State is whether its code can go on.
func (m *Member) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// Info describes a member.
type Info struct {
	ID       string
	Template string // id of what it is made from
	Alias    string // another name of that, "" if there is none
	Owner    string

	Metadata, Env map[string]string // not to be changed

	StartedAt  time.Time // or resumed
	EndsAt     time.Time // of a paused one, when it would have ended
	Timeout    time.Duration
	State      State
	OnTimeout  Action
	AutoResume bool
	Public     bool
	Network    *Network // as it was asked for; nil when it was not. Not to be changed
	Size       Size
}

// Info describes the member.
func (m *Member) Info() Info {
	size := m.size()
	m.mu.Lock()
	defer m.mu.Unlock()
	return Info{
		ID: m.id, Template: m.template, Alias: m.alias, Owner: m.owner.Name,
		Metadata: maps.Clone(m.spec.Metadata), Env: maps.Clone(m.spec.Env),
		StartedAt: m.started, EndsAt: m.ends, Timeout: m.spec.Timeout, State: m.state,
		OnTimeout: m.spec.OnTimeout, AutoResume: m.spec.AutoResume, Public: m.spec.Public, Network: m.spec.Network.clone(), Size: size,
	}
}
