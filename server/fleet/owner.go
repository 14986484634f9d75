package fleet

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Owner is who a key stands for. Sandboxes of one owner are invisible to the others. Owners of one name are the same.
type Owner struct {
	Name   string
	Limits Limits
}

// Limits are what an owner may have. A zero field is no limit.
type Limits struct {
	Sandboxes int // that live, paused ones too
	// Memory of all live sandboxes, bytes: the sum of their own limits. One without gets UnsizedMemory then.
	Memory           int64
	CreatesPerMinute int // as many at once after a minute without any; forks count
	Streams          int // requests at once, websockets too
}

// UnsizedMemory is the limit of memory, bytes, that a sandbox gets which has none, when its owner's sum is limited.
const UnsizedMemory = 1 << 30

// account is what an owner has now.
type account struct {
	sandboxes int
	memory    int64
	streams   int
	creates   *rate.Limiter // nil is no limit
	perMinute int           // what creates was made for
}

// ledger counts what all owners have. What is taken is given back by exactly one call of a function that take returns.
type ledger struct {
	mu       sync.Mutex
	accounts map[string]*account
	total    int // live sandboxes of all
	capacity int // of the daemon; 0 is no limit
}

func newLedger(capacity int) *ledger {
	return &ledger{accounts: make(map[string]*account), capacity: capacity}
}

// of is the owner's account; mu is held.
func (l *ledger) of(o *Owner) *account {
	a := l.accounts[o.Name]
	if a == nil {
		a = new(account)
		l.accounts[o.Name] = a
	}
	if n := o.Limits.CreatesPerMinute; n != a.perMinute {
		a.perMinute, a.creates = n, nil
		if n > 0 {
			a.creates = rate.NewLimiter(rate.Limit(float64(n)/60), n)
		}
	}
	return a
}

// sandboxRetry is when it is worth while to ask again for a sandbox that others have to make room for.
const sandboxRetry = 5 * time.Second

// takeSandbox makes room for a sandbox of so much memory, or says which limit is reached. What is refused costs nothing.
func (l *ledger) takeSandbox(o *Owner, memory int64) (giveBack func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.of(o)
	switch {
	case l.capacity > 0 && l.total >= l.capacity:
		return nil, &LimitError{Quota: QuotaDaemon, Allowed: int64(l.capacity), RetryAfter: sandboxRetry}
	case o.Limits.Sandboxes > 0 && a.sandboxes >= o.Limits.Sandboxes:
		return nil, &LimitError{Quota: QuotaSandboxes, Allowed: int64(o.Limits.Sandboxes), RetryAfter: sandboxRetry}
	case o.Limits.Memory > 0 && a.memory+memory > o.Limits.Memory:
		return nil, &LimitError{Quota: QuotaMemory, Allowed: o.Limits.Memory, RetryAfter: sandboxRetry}
	}
	if a.creates != nil {
		if r := a.creates.Reserve(); r.Delay() > 0 {
			wait := r.Delay()
			r.Cancel()
			return nil, &LimitError{Quota: QuotaCreates, Allowed: int64(o.Limits.CreatesPerMinute), RetryAfter: wait}
		}
	}
	l.total++
	a.sandboxes++
	a.memory += memory
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.total--
		a.sandboxes--
		a.memory -= memory
	}, nil
}

// takeStream is the same for a request; fallback is the limit of an owner who has none of their own, 0 for none.
func (l *ledger) takeStream(o *Owner, fallback int) (giveBack func(), err error) {
	allowed := o.Limits.Streams
	if allowed == 0 {
		allowed = fallback
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.of(o)
	if allowed > 0 && a.streams >= allowed {
		return nil, &LimitError{Quota: QuotaStreams, Allowed: int64(allowed), RetryAfter: time.Second}
	}
	a.streams++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		a.streams--
	}, nil
}
