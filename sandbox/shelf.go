package sandbox

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// maxShelves bounds the kinds of sandboxes that there are spares of at a time.
const maxShelves = 8

// shelf holds the spares of one kind.
type shelf struct {
	kind
	least int         // there are always so many
	ready []*spare    // the oldest first
	asked []time.Time // when one was asked for lately, the oldest first
}

// spare is a sandbox that nobody has asked for yet.
type spare struct {
	*Sandbox
	left chan struct{} // closed when it is none any more
}

// kind is what sandboxes are alike in that can't be changed once they are made.
type kind struct {
	key  string // empty of what all get that ask for nothing
	like Options
}

// kindOf is the kind that options ask for; it reports false when no spare can be that.
func (p *spares) kindOf(o *Options) (kind, bool) {
	e := p.engine
	if o.ID != "" || o.Lazy || normalLanguage(o.Language) != "python" || o.WorkspacePath != "" || len(o.AllowedRoots) > 0 ||
		o.Isolation != "" && o.Isolation != e.choice.Isolation || o.TimeToLive < 0 || o.CullAfter < 0 || special(o.Env) {
		return kind{}, false
	}
	limits := withDefaultLimits(o.Limits, e.config.DefaultLimits)
	if limits == e.config.DefaultLimits && e.usualContainer(o.Container) {
		return kind{}, true
	}
	if e.choice.Backend != "docker" { // a fork is ready soon enough
		return kind{}, false
	}
	container := e.containerFor(o.Container)
	k := kind{like: Options{Limits: limits, Container: container}}
	if container.Network.Mode == backends.NetworkNone {
		if len(container.Network.Allow)+len(container.Network.Deny) > 0 {
			return kind{}, false // a mistake, which Create tells
		}
	} else { // the rules can be changed
		container.Network = backends.Network{Mode: backends.NetworkBridge}
	}
	key, err := json.Marshal([]any{limits, container})
	k.key = string(key)
	return k, err == nil
}

// shelfOf is the shelf of a kind, nil when there is none; mu is held, as in all that follows.
func (p *spares) shelfOf(k kind) *shelf {
	for _, s := range p.shelves {
		if s.key == k.key {
			return s
		}
	}
	return nil
}

// want notes that one of a kind was asked for. The kind that nobody has asked for longest makes room for a new one.
func (p *spares) want(k kind) {
	s := p.shelfOf(k)
	if s == nil {
		if p.engine.config.MaxSpares <= 0 {
			return
		}
		s = new(shelf)
		p.shelves = append(p.shelves, s)
	}
	s.kind = k // with the rules of the network as they were asked for last
	if s.asked = append(s.asked, time.Now()); len(s.asked) > maxSpares {
		s.asked = s.asked[1:]
	}
	if k.key != "" {
		p.shelves = append(slices.DeleteFunc(p.shelves, func(other *shelf) bool { return other == s }), s)
	}
	if len(p.shelves) > maxShelves {
		p.shelves[1].asked = nil // next clears it
	}
}

// next is a shelf that wants another spare, and one that is no longer wanted.
func (p *spares) next() (short *shelf, extra *Sandbox) {
	wanted := p.wanted()
	for i, s := range p.shelves {
		switch {
		case len(s.ready) > wanted[i]:
			return nil, s.pop()
		case len(s.ready) < wanted[i] && short == nil:
			short = s
		}
	}
	p.shelves = slices.DeleteFunc(p.shelves, func(s *shelf) bool { return s.key != "" && len(s.asked) == 0 })
	return short, nil
}

// wanted is how many spares there should be on each shelf: as many as were asked for lately, and all together at most
// Config.MaxSpares. Where that is too little each kind gets one before any gets two, the one that was asked for last first.
func (p *spares) wanted() []int {
	wanted := make([]int, len(p.shelves))
	left := p.engine.config.MaxSpares
	for i, s := range p.shelves {
		for len(s.asked) > 0 && time.Since(s.asked[0]) > demandWindow {
			s.asked = s.asked[1:]
		}
		wanted[i] = max(min(s.least, left), 0)
		left -= wanted[i]
	}
	order := make([]int, len(p.shelves))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return p.shelves[b].last().Compare(p.shelves[a].last()) })
	for round := 1; left > 0 && round <= maxSpares; round++ {
		more := false
		for _, i := range order {
			if left > 0 && len(p.shelves[i].asked) >= round {
				more = true
				if wanted[i] < round {
					wanted[i]++
					left--
				}
			}
		}
		if !more {
			break
		}
	}
	return wanted
}

// last is when one was asked for.
func (s *shelf) last() time.Time {
	if len(s.asked) == 0 {
		return time.Time{}
	}
	return s.asked[len(s.asked)-1]
}

// pop takes the oldest off the shelf.
func (s *shelf) pop() *Sandbox {
	one := s.ready[0]
	s.remove(one)
	return one.Sandbox
}

// remove takes one off the shelf; it reports false when it is not there.
func (s *shelf) remove(one *spare) bool {
	i := slices.Index(s.ready, one)
	if i < 0 {
		return false
	}
	s.ready = slices.Delete(s.ready, i, i+1)
	close(one.left)
	return true
}
