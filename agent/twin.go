package agent

import (
	"context"
	"errors"
	"time"
)

// An agent with one instance, see Config.Alone, starts its first kernel under a keeper of the plain supervisor, so as not to wait for
// the fork server, and has no second instance for which the fork server would be ready. So its instance gets a second keeper, the
// twin of the first, once there is something to fork from: kernels that can be forks are started there. The two end, pause and
// count as one.

// twinOf is the second keeper of the instance whose keeper k is; nil when there is none to be had.
func (in *Instance) twinOf(ctx context.Context, k *keeper) *keeper {
	if !in.agent.config.Alone || k.warm != nil || in.agent.hot() == nil {
		return nil
	}
	in.starting.Lock()
	defer in.starting.Unlock()
	if twin := k.second(); twin != nil && !twin.wire.over() {
		return twin
	}
	twin, err := in.agent.startKeeper(ctx, in.place.ID, in.bounds.current)
	if err != nil || twin.warm == nil { // it would be of the plain supervisor
		if err == nil {
			twin.wire.close()
		}
		return nil
	}
	twin.owner = in
	k.mu.Lock()
	twin.limits, twin.rank, twin.verdict = k.limits, k.rank, k.verdict
	k.mu.Unlock()
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed || in.keeper != k { // while we started it
		twin.wire.close()
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.twin = twin
	return twin
}

// second is the keeper's twin; nil when it has none.
func (k *keeper) second() *keeper {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.twin
}

// roots are the process ids of the keeper and its twin.
func (k *keeper) roots() []int {
	if twin := k.second(); twin != nil {
		return []int{k.pid, twin.pid}
	}
	return []int{k.pid}
}

// both does something with the keeper and with its twin. A twin that died has taken its processes along.
func (k *keeper) both(do func(*keeper) error) error {
	err := do(k)
	if twin := k.second(); twin != nil {
		if twinErr := do(twin); !errors.Is(twinErr, ErrKeeperDied) {
			err = errors.Join(err, twinErr)
		}
	}
	return err
}

// closeBoth is close for the keeper and its twin, at once.
func (k *keeper) closeBoth(patience time.Duration) bool {
	twin := k.second()
	if twin == nil {
		return k.close(patience)
	}
	certain := make(chan bool, 1)
	go func() { certain <- twin.close(patience) }()
	first := k.close(patience)
	return <-certain && first
}
