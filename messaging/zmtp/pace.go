package zmtp

import "time"

// Each small message that comes alone wakes this process, and in a flood of thousands a second the waking is most of the
// cost: several times the reading, verifying and decoding. A reader in a flood therefore pauses for a
// moment before it reads on, and then finds several messages at once. It is what network cards do with
// interrupts. What is sent to the kernel ends the flood for the reader, so an answer is never held up, however quickly one
// request follows another.
const (
	floodAfter = 64               // messages in close succession make a flood
	floodGap   = time.Millisecond // closer than this is close
	floodPause = 10 * time.Millisecond
	// bulk is what must not have gathered in a pause, bytes: a stream of large messages is read without a break, or
	// the publisher would reach its mark and drop some.
	bulk = readBuffer / 2
)

// pacer tells a reader when to pause. It is the reader's own but for expect.
type pacer struct {
	streak   int
	expected chan struct{} // has one when something was sent since the reader last looked
}

func newPacer() *pacer { return &pacer{expected: make(chan struct{}, 1)} }

// expect tells the reader that an answer is awaited.
func (p *pacer) expect() {
	select {
	case p.expected <- struct{}{}:
	default:
	}
}

// wait pauses in a flood and then calls receive, which blocks until something has come and tells how much.
func (p *pacer) wait(receive func() (int, error)) error {
	pause := time.Duration(0)
	if p.streak >= floodAfter {
		pause = floodPause
	}
	p.rest(pause)
	start := time.Now()
	n, err := receive()
	if n < bulk && time.Since(start) < floodGap {
		p.streak++
	} else {
		p.streak = 0
	}
	return err
}

// rest waits for so long, or until an answer is awaited.
func (p *pacer) rest(pause time.Duration) {
	if pause == 0 {
		select {
		case <-p.expected:
			p.streak = 0
		default:
		}
		return
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-p.expected:
		p.streak = 0
	case <-timer.C:
	}
}
