package daemon

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

func message(kind string, size int) [][]byte {
	return [][]byte{delimiter, []byte("sign"), []byte(fmt.Sprintf(`{"msg_type":%q}`, kind)), []byte("{}"), []byte("{}"), []byte(strings.Repeat("x", size))}
}

// contents are the numbers that a queue tells, gaps as from-to.
func contents(q *queue, from uint64) string {
	var out []string
	for {
		batch, _, _ := q.batch(from, 1)
		if len(batch) == 0 {
			return strings.Join(out, " ")
		}
		for _, e := range batch {
			if e.frames == nil {
				out = append(out, fmt.Sprintf("(%d-%d)", e.number, e.last()))
			} else {
				out = append(out, fmt.Sprint(e.number))
			}
			from = e.last() + 1
		}
	}
}

func TestQueueLeavesTextsOutFirstThenDisplaysAndNothingElse(t *testing.T) {
	q := newQueue(3000)
	for _, kind := range []string{"status", "stream", "display_data", "stream", "error", "display_data"} {
		q.push(messaging.IOPub, message(kind, 1000))
	}
	q.push(messaging.Shell, message("execute_reply", 1000))
	q.idle()
	q.push(messaging.IOPub, message("stream", 10))
	require.Equal(t, "1 (2-2) (3-3) (4-4) 5 (6-6) 7 8", contents(q, 1))
	q.ack(5)
	require.Equal(t, "(6-6) 7 8", contents(q, 0))
	require.EqualValues(t, 6, q.first(0))
	require.EqualValues(t, 9, q.first(100))
	q.ack(1<<64 - 1)
	require.Zero(t, q.bytes)
	require.Zero(t, q.gaps)
	require.Empty(t, contents(q, 1))
}

func TestQueueAloneLargerThanTheBudgetIsKept(t *testing.T) {
	q := newQueue(1000)
	q.push(messaging.IOPub, message("display_data", 1<<20))
	require.Equal(t, "1", contents(q, 1))
	q.batch(1, 1) // it is on its way
	q.push(messaging.IOPub, message("stream", 1))
	q.push(messaging.IOPub, message("stream", 1))
	q.push(messaging.IOPub, message("stream", 1))
	require.Equal(t, "1", strings.Fields(contents(q, 1))[0])
}

func TestQueueOfNeededMessagesHoldsTheKernelUp(t *testing.T) {
	q := newQueue(1000)
	pushed := make(chan struct{})
	go func() {
		defer close(pushed)
		for range 10 {
			q.push(messaging.IOPub, message("status", 500))
		}
	}()
	select {
	case <-pushed:
		t.Fatal("it took everything")
	case <-time.After(50 * time.Millisecond):
	}
	q.mu.Lock()
	require.LessOrEqual(t, q.bytes, int64(4000))
	q.mu.Unlock()
	for from := uint64(1); from <= 10; {
		batch, more, _ := q.batch(from, 1)
		if len(batch) == 0 {
			<-more
			continue
		}
		from = batch[len(batch)-1].last() + 1
		q.ack(from - 1)
	}
	<-pushed
	blocked := make(chan struct{})
	go func() {
		defer close(blocked)
		for range 10 {
			q.push(messaging.IOPub, message("status", 500))
		}
	}()
	q.close()
	<-blocked
}

func TestQueueOfAnEndlessFloodStaysSmall(t *testing.T) {
	q := newQueue(100_000)
	for i := range 200_000 {
		if i%1000 == 0 {
			q.push(messaging.IOPub, message("status", 1))
		} else {
			q.push(messaging.IOPub, message("stream", 100))
		}
		if i == 50 {
			q.ack(20)
		}
		if i%10_000 == 0 {
			q.ack(uint64(i) / 2)
		}
	}
	require.Less(t, len(q.list), 3000)
	last := uint64(0)
	for from := q.first(0); ; {
		batch, _, _ := q.batch(from, 1)
		if len(batch) == 0 {
			break
		}
		require.Equal(t, from, batch[0].number, "no number is missing")
		from = batch[len(batch)-1].last() + 1
		last = from - 1
	}
	require.EqualValues(t, 200_000, last)
}

func TestGapsThatHaveBecomeOneAreToldFromWhereItWasAsked(t *testing.T) {
	q := newQueue(1000)
	for range 3000 {
		q.push(messaging.IOPub, message("stream", 1))
	}
	q.mu.Lock()
	q.merge()
	q.mu.Unlock()
	batch, _, _ := q.batch(7, 1)
	require.Len(t, batch, 1)
	require.EqualValues(t, 7, batch[0].number)
	require.Greater(t, batch[0].last(), uint64(2000))
}
