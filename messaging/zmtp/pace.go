package zmtp

import "time"

// Each small message that comes alone wakes this process, and in a flood of thousands a second the waking is most of the
// cost: several times the reading, verifying and decoding. A reader in a flood therefore pauses for a
// moment before it reads on, and then finds several messages at once. It is what network cards do with
// interrupts. A run's first messages, and anything slower than a flood, are never held up.
const (
	floodAfter = 64               // messages in close succession make a flood
	floodGap   = time.Millisecond // closer than this is close
	floodPause = 10 * time.Millisecond
	// bulk is what must not have gathered in a pause, bytes: a stream of large messages is read without a break, or
	// the publisher would reach its mark and drop some.
	bulk = readBuffer / 2
)

// pacer tells a reader when to pause. It is the reader's own.
type pacer struct {
	streak int
}

// wait pauses in a flood and then calls receive, which blocks until something has come and tells how much.
func (p *pacer) wait(receive func() (int, error)) error {
	if p.streak >= floodAfter {
		time.Sleep(floodPause)
	}
	start := time.Now()
	n, err := receive()
	if n < bulk && time.Since(start) < floodGap {
		p.streak++
	} else {
		p.streak = 0
	}
	return err
}
