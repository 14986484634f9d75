package agentpb

import (
	"errors"
	"fmt"
	"math"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// ErrChunk says that a part of a message does not fit what came before it, or passes a bound.
var ErrChunk = errors.New("message of a kernel is cut wrong, or too large")

// Split cuts a message into parts. They share the memory of frames.
func Split(number uint64, channel Channel, frames [][]byte) ([]*Chunk, error) {
	if len(frames) > MaxFrames {
		return nil, fmt.Errorf("%w: %d frames, the limit is %d", ErrChunk, len(frames), MaxFrames)
	}
	first := &Chunk{Number: number, Channel: channel, Sizes: make([]uint32, len(frames))}
	total := 0
	for i, frame := range frames {
		if len(frame) > math.MaxUint32 {
			return nil, fmt.Errorf("%w: frame of %d bytes", ErrChunk, len(frame))
		}
		first.Sizes[i] = uint32(len(frame))
		total += len(frame)
	}
	if total <= MaxChunk {
		first.Data = join(frames, total)
		return []*Chunk{first}, nil
	}
	chunks := []*Chunk{first}
	room := func() *Chunk {
		last := chunks[len(chunks)-1]
		if len(last.Data) < MaxChunk {
			return last
		}
		last.More = true
		chunks = append(chunks, new(Chunk))
		return chunks[len(chunks)-1]
	}
	for _, frame := range frames {
		for len(frame) > 0 {
			chunk := room()
			n := min(len(frame), MaxChunk-len(chunk.Data))
			if len(chunk.Data) == 0 {
				chunk.Data = frame[:n:n]
			} else {
				chunk.Data = append(chunk.Data, frame[:n]...) // which copies, for its capacity is its length
			}
			frame = frame[n:]
		}
	}
	return chunks, nil
}

func join(frames [][]byte, total int) []byte {
	data := make([]byte, 0, total)
	for _, frame := range frames {
		data = append(data, frame...)
	}
	return data
}

// Assembler puts parts together again. The other side is not trusted: memory grows with what has really come.
type Assembler struct {
	Max int64 // largest message, bytes

	active  bool
	number  uint64
	channel Channel
	sizes   []uint32
	total   int
	data    []byte
}

// Whole is a message that is complete.
type Whole struct {
	Number  uint64
	Channel messaging.Channel
	Frames  [][]byte
	Size    int64
}

// Add takes a part; it returns the message that is complete with it, else nil.
func (a *Assembler) Add(c *Chunk) (*Whole, error) {
	if len(c.Data) > MaxChunk {
		return nil, fmt.Errorf("%w: part of %d bytes", ErrChunk, len(c.Data))
	}
	if !a.active {
		if err := a.begin(c); err != nil {
			return nil, err
		}
	} else if len(c.Sizes) > 0 || len(c.Data) == 0 {
		return nil, fmt.Errorf("%w: a message begins inside another", ErrChunk)
	}
	if len(a.data)+len(c.Data) > a.total {
		return nil, fmt.Errorf("%w: more than the %d bytes announced", ErrChunk, a.total)
	}
	if len(a.data) == 0 {
		a.data = c.Data // ours already: it was decoded into memory of its own
	} else {
		if need := len(a.data) + len(c.Data); need > cap(a.data) {
			grown := make([]byte, len(a.data), min(a.total, max(need, 2*cap(a.data))))
			copy(grown, a.data)
			a.data = grown
		}
		a.data = append(a.data, c.Data...)
	}
	if c.More {
		return nil, nil
	}
	if len(a.data) != a.total {
		return nil, fmt.Errorf("%w: %d of %d bytes", ErrChunk, len(a.data), a.total)
	}
	return a.end(), nil
}

func (a *Assembler) begin(c *Chunk) error {
	total := int64(0)
	for _, size := range c.Sizes {
		total += int64(size)
	}
	switch {
	case len(c.Sizes) == 0 || len(c.Sizes) > MaxFrames:
		return fmt.Errorf("%w: %d frames", ErrChunk, len(c.Sizes))
	case total > a.Max:
		return fmt.Errorf("%w: %d bytes announced, the limit is %d", ErrChunk, total, a.Max)
	case c.Channel.Value() == "":
		return fmt.Errorf("%w: channel %d", ErrChunk, c.Channel)
	}
	a.active, a.number, a.channel, a.sizes, a.total, a.data = true, c.Number, c.Channel, c.Sizes, int(total), nil
	return nil
}

func (a *Assembler) end() *Whole {
	w := &Whole{Number: a.number, Channel: a.channel.Value(), Frames: make([][]byte, len(a.sizes)), Size: int64(a.total)}
	at := 0
	for i, size := range a.sizes {
		end := at + int(size)
		w.Frames[i] = a.data[at:end:end]
		at = end
	}
	*a = Assembler{Max: a.Max}
	return w
}
