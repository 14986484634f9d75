package kernel_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/kernel/kerneltest"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

func TestRunGivesItsOutputsAndReply(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("work", func(c *kerneltest.Call) {
			c.Stream("stdout", "a")
			c.Display(kerneltest.Text("d"), "")
			c.Result(kerneltest.Text("r"))
		})
		e := execute(t, conn, "work")
		s := collect(t, e)
		require.NoError(t, s.err)
		require.Equal(t, []string{"a", "display d", "result r"}, s.texts)
		reply, err := e.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, reply.ExecutionCount)
		require.Equal(t, kernel.Idle, conn.State())
	})
}

func TestProtocolEventsComeOnWish(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("work", func(c *kerneltest.Call) { c.Stream("stdout", "a") })
		fake.OnRaw("idle first", func(c *kerneltest.Call) {
			c.Busy()
			c.Idle()
			c.Reply(nil)
		})
		for code, want := range map[string][]string{
			"work":       {"status busy", "execute_input", "stream", "execute_reply", "status idle"},
			"idle first": {"status busy", "status idle", "execute_reply"},
		} {
			e, err := conn.Execute(t.Context(), &messaging.ExecuteRequest{Code: code}, &kernel.ExecuteOptions{Protocol: true})
			require.NoError(t, err)
			var seen []string
			for event, err := range e.All(t.Context()) {
				require.NoError(t, err)
				name := event.Content.MsgType()
				if status, ok := event.Content.(*messaging.Status); ok {
					name += " " + string(status.ExecutionState)
				}
				seen = append(seen, name)
			}
			require.ElementsMatch(t, want, seen)
			require.Equal(t, want[0], seen[0])
		}
	})
}

func TestReplyBeforeIdle(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.OnRaw("x", func(c *kerneltest.Call) {
			c.Busy()
			c.Reply(nil)
			time.Sleep(3 * time.Second)
			c.Stream("stdout", "late but mine")
			c.Idle()
		})
		s := collect(t, execute(t, conn, "x"))
		require.NoError(t, s.err)
		require.Equal(t, []string{"late but mine"}, s.texts)
	})
}

func TestIdleBeforeReply(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.OnRaw("x", func(c *kerneltest.Call) {
			c.Busy()
			c.Idle()
			time.Sleep(500 * time.Millisecond)
			c.Reply(nil)
		})
		e := execute(t, conn, "x")
		require.NoError(t, collect(t, e).err)
		reply, err := e.Wait(t.Context())
		require.NoError(t, err)
		require.NotNil(t, reply)
	})
}

func TestLostIdleEndsTheRunAfterSilenceAndSaysSo(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.OnRaw("x", func(c *kerneltest.Call) {
			c.Busy()
			c.Reply(nil)
			for range 4 { // a flood is slow to arrive: silence counts, not time
				time.Sleep(4 * time.Second)
				c.Stream("stdout", ".")
			}
		})
		start := time.Now()
		s := collect(t, execute(t, conn, "x"))
		require.NoError(t, s.err)
		require.Equal(t, "....", strings.Join(s.texts, ""))
		require.True(t, s.cut.IdleLost)
		require.Equal(t, 21*time.Second, time.Since(start))
		require.NoError(t, collect(t, execute(t, conn, "next")).err)
	})
}

func TestReplyThatNeverComesIsNamed(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.OnRaw("x", func(c *kerneltest.Call) {
			c.Busy()
			c.Idle()
		})
		start := time.Now()
		e := execute(t, conn, "x")
		// The kernel answers the nudge, and shell answers come in order: the reply is lost.
		require.ErrorIs(t, collect(t, e).err, kernel.ErrNoReply)
		require.Equal(t, time.Second, time.Since(start))
		require.NoError(t, collect(t, execute(t, conn, "next")).err)
	})
}

func TestReplyThatComesWithTheNudgeCounts(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.OnRaw("x", func(c *kerneltest.Call) {
			c.Busy()
			c.Idle()
			time.Sleep(1500 * time.Millisecond) // the nudge waits behind us
			c.Reply(nil)
		})
		e := execute(t, conn, "x")
		require.NoError(t, collect(t, e).err)
	})
}

func TestSilentRunEnds(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("quiet", func(*kerneltest.Call) {})
		e, err := conn.Execute(t.Context(), &messaging.ExecuteRequest{Code: "quiet", Silent: true}, nil)
		require.NoError(t, err)
		s := collect(t, e)
		require.NoError(t, s.err)
		require.Empty(t, s.texts)
	})
}

func TestErrorIsDataAndAbortedIsAReply(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("bad", func(c *kerneltest.Call) { c.Error("ValueError", "no") })
		e := execute(t, conn, "bad")
		s := collect(t, e)
		require.NoError(t, s.err)
		require.Equal(t, []string{"error ValueError"}, s.texts)
		reply, err := e.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, messaging.StatusError, reply.Status)

		fake.OnRaw("later", func(c *kerneltest.Call) {
			c.Busy()
			c.Abort()
			c.Idle()
		})
		reply, err = execute(t, conn, "later").Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, messaging.StatusAborted, reply.Status)
	})
}

func TestInputRequestIsAnswered(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("ask", func(c *kerneltest.Call) {
			value, err := c.Input("name?", false)
			if err != nil {
				value = err.Error()
			}
			c.Result(kerneltest.Text(value))
		})
		require.ErrorIs(t, execute(t, conn, "asks nothing").Reply(t.Context(), "unasked"), kernel.ErrNoInput)
		e := execute(t, conn, "ask")
		var got string
		for event, err := range e.All(t.Context()) {
			require.NoError(t, err)
			switch c := event.Content.(type) {
			case *messaging.InputRequest:
				require.Equal(t, "name?", c.Prompt)
				require.NoError(t, e.Reply(t.Context(), "ada"))
				require.ErrorIs(t, e.Reply(t.Context(), "twice"), kernel.ErrNoInput)
			case *messaging.ExecuteResult:
				got, _ = c.Data.Text("text/plain")
			}
		}
		require.Equal(t, "ada", got)
	})
}

func TestForeignAndLateMessagesGoToSubscribers(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		late := make(chan *kerneltest.Call, 1)
		fake.On("x", func(c *kerneltest.Call) {
			c.Foreign().Stream("stdout", "another client's")
			c.Under(nil).Busy()
			late <- c
		})
		s := collect(t, execute(t, conn, "x"))
		require.Empty(t, s.texts)
		require.Positive(t, conn.Unclaimed())

		tap := conn.Subscribe(&kernel.SubscribeOptions{Unclaimed: true})
		(<-late).Stream("stdout", "from a thread after idle")
		m, err := tap.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, "stream", m.Header.MsgType)
		require.NoError(t, tap.Close())
		_, err = tap.Next(t.Context())
		require.ErrorIs(t, err, kernel.ErrClosed)
	})
}

func TestLateOutputIsHeardAsTheRuns(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		calls := make(chan *kerneltest.Call, 1)
		fake.On("x", func(c *kerneltest.Call) { calls <- c })
		late := make(chan *messaging.Message, 10)
		e, err := conn.Execute(t.Context(), &messaging.ExecuteRequest{Code: "x"}, &kernel.ExecuteOptions{OnLate: func(m *messaging.Message) { late <- m }})
		require.NoError(t, err)
		collect(t, e)
		collect(t, execute(t, conn, "another"))
		unclaimed := conn.Unclaimed()
		call := <-calls
		call.Busy() // is no output
		call.Stream("stdout", "from a thread after idle")
		m := <-late
		require.Equal(t, "stream", m.Header.MsgType)
		require.Equal(t, e.ID(), m.ParentID())
		require.Empty(t, late)
		require.Equal(t, unclaimed+1, conn.Unclaimed(), "the status")

		for range 256 { // so many runs later it is forgotten
			e, err := conn.Execute(t.Context(), &messaging.ExecuteRequest{Code: "y"}, &kernel.ExecuteOptions{OnLate: func(*messaging.Message) {}})
			require.NoError(t, err)
			collect(t, e)
		}
		call.Stream("stdout", "much later")
		collect(t, execute(t, conn, "another")) // which comes after it
		require.Empty(t, late)
	})
}

func TestUpdateOfAnEarlierDisplayBelongsToTheLaterRun(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("show", func(c *kerneltest.Call) { c.Display(kerneltest.Text("1"), "id") })
		fake.On("update", func(c *kerneltest.Call) { c.Update(kerneltest.Text("2"), "id") })
		require.Equal(t, []string{"display 1"}, collect(t, execute(t, conn, "show")).texts)
		require.Equal(t, []string{"update 2"}, collect(t, execute(t, conn, "update")).texts)
	})
}

func TestSlowSubscriberIsCutOffAlone(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		slow := conn.Subscribe(&kernel.SubscribeOptions{QueueBytes: 10_000})
		fake.On("much", func(c *kerneltest.Call) {
			for range 100 {
				c.Stream("stdout", strings.Repeat("x", 1000))
			}
		})
		require.Len(t, collect(t, execute(t, conn, "much")).texts, 100)
		var err error
		for err == nil {
			_, err = slow.Next(t.Context())
		}
		require.ErrorIs(t, err, kernel.ErrSlowSubscriber)
	})
}

func TestFloodUnreadIsCutCountedAndNeverLosesTheEnd(t *testing.T) {
	bubble(t, &kernel.Options{QueueBytes: 1 << 20}, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		const chunk, count = 10_000, 10_000 // 100 MB
		fake.On("flood", func(c *kerneltest.Call) {
			text := strings.Repeat("x", chunk)
			for range count {
				c.Stream("stdout", text)
			}
			c.Display(kerneltest.Text("figure"), "")
			c.Error("KeyError", "end")
		})
		e := execute(t, conn, "flood")
		reply, err := e.Wait(t.Context()) // nobody reads
		require.NoError(t, err)
		require.Equal(t, messaging.StatusError, reply.Status)
		kept, lost, rest := int64(0), int64(0), []string(nil)
		for event, err := range e.All(t.Context()) {
			require.NoError(t, err)
			switch c := event.Content.(type) {
			case *messaging.Stream:
				kept += int64(len(c.Text))
			case *kernel.Truncated:
				lost += c.Bytes
			case *messaging.DisplayData, *messaging.ErrorOutput:
				rest = append(rest, c.MsgType())
			}
		}
		require.Equal(t, int64(chunk*count), kept+lost)
		require.LessOrEqual(t, kept, int64(1<<20+chunk))
		require.Equal(t, lost, e.Truncated())
		require.Equal(t, []string{"display_data", "error"}, rest)
	})
}

func TestOnMessageSeesWhatNobodyReads(t *testing.T) {
	bubble(t, &kernel.Options{QueueBytes: 10_000}, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("flood", func(c *kerneltest.Call) {
			for i := range 1000 {
				c.Stream("stdout", strconv.Itoa(i)+"\n")
			}
		})
		var types []string
		lines := 0
		e, err := conn.Execute(t.Context(), &messaging.ExecuteRequest{Code: "flood"}, &kernel.ExecuteOptions{
			OnMessage: func(m *messaging.Message) {
				if m.Header.MsgType == "stream" {
					content, err := m.Decode()
					require.NoError(t, err)
					require.Equal(t, strconv.Itoa(lines)+"\n", content.(*messaging.Stream).Text)
					lines++
					return
				}
				types = append(types, m.Header.MsgType)
			},
		})
		require.NoError(t, err)
		_, err = e.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1000, lines, "all of it, in order, though the queue is full")
		require.Positive(t, e.Truncated())
		require.ElementsMatch(t, []string{"status", "execute_input", "execute_reply", "status"}, types)
	})
}

func TestFloodReadInTimeLosesNothing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("flood", func(c *kerneltest.Call) {
			for range 1000 {
				for range 100 {
					c.Stream("stdout", strings.Repeat("x", 1000))
				}
				time.Sleep(time.Millisecond) // fake time: lets the reader run
			}
		})
		total := 0
		e := execute(t, conn, "flood")
		for event, err := range e.All(t.Context()) {
			require.NoError(t, err)
			if s, ok := event.Content.(*messaging.Stream); ok {
				total += len(s.Text)
			}
		}
		require.Equal(t, 100_000_000, total)
		require.Zero(t, e.Truncated())
	})
}

func TestCancelWaitingRunSendsNothing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("long", func(*kerneltest.Call) { time.Sleep(10 * time.Second) })
		long := execute(t, conn, "long")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := conn.Execute(ctx, &messaging.ExecuteRequest{Code: "waiting"}, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, collect(t, long).err)
		require.NoError(t, collect(t, execute(t, conn, "next")).err)
		require.Equal(t, []string{"long", "next"}, executed(t, fake))
	})
}

func TestCancelRunningRunInterruptsAndKeepsItsOutput(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("sleep", func(c *kerneltest.Call) {
			c.Stream("stdout", "before")
			block(c)
			c.Stream("stdout", "after")
		})
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		e, err := conn.Execute(ctx, &messaging.ExecuteRequest{Code: "sleep"}, nil)
		require.NoError(t, err)
		synctest.Wait()
		cancel(why)
		s := collect(t, e)
		require.ErrorIs(t, s.err, why)
		require.Equal(t, []string{"before", "error KeyboardInterrupt", "after"}, s.texts)
		require.NoError(t, collect(t, execute(t, conn, "next")).err)
	})
}

func TestInterruptWaitsUntilTheCodeRuns(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.OnRaw("slow start", func(c *kerneltest.Call) {
			time.Sleep(2 * time.Second)
			select {
			case <-c.Interrupted():
				c.Stream("stdout", "interrupted too early")
			default:
			}
			c.Busy()
			c.ExecuteInput()
			block(c)
			c.Reply(nil)
			c.Idle()
		})
		e := execute(t, conn, "slow start")
		e.Interrupt()
		s := collect(t, e)
		require.NoError(t, s.err)
		require.Equal(t, []string{"error KeyboardInterrupt"}, s.texts)
	})
}

// patience is how long giveUp waits before it cancels.
const patience = time.Second

// giveUp runs code that the kernel does not come to, or that does not heed an interrupt, until the kernel is stuck in it.
func giveUp(t *testing.T, conn *kernel.Conn, code string) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("no patience"))
	defer cancel()
	e, err := conn.Execute(ctx, &messaging.ExecuteRequest{Code: code}, nil)
	require.NoError(t, err)
	err = collect(t, e).err
	require.ErrorIs(t, err, kernel.ErrInterruptTimeout)
	require.ErrorContains(t, err, "no patience")
	require.Equal(t, kernel.Stuck, conn.State())
}

func TestKernelIsStuckNoLongerThanTheRunThatWasGivenUp(t *testing.T) {
	for _, end := range []string{"reply", "idle"} {
		bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
			var interrupted atomic.Bool
			fake.OnRaw("held up", func(c *kerneltest.Call) {
				time.Sleep(8 * time.Second) // by something that no interrupt reaches
				c.Busy()
				c.ExecuteInput()
				interrupted.Store(errors.Is(c.Sleep(time.Hour), kerneltest.ErrInterrupted))
				if end == "reply" {
					c.Reply(nil)
				} else {
					c.Idle()
				}
			})
			giveUp(t, conn, "held up")
			_, err := conn.Execute(t.Context(), &messaging.ExecuteRequest{Code: "next"}, nil)
			require.ErrorIs(t, err, kernel.ErrStuck)
			time.Sleep(3 * time.Second)
			require.True(t, interrupted.Load(), "nobody wants it any more")
			require.Equal(t, kernel.Idle, conn.State())
			s := collect(t, execute(t, conn, "next"))
			require.NoError(t, s.err)
			require.Equal(t, []string{"next"}, s.texts)
		})
	}
}

// TestARunOfNobodyIsInterruptedUntilItEnds: an interrupt may be lost, and a kernel may not tell that the code runs.
func TestARunOfNobodyIsInterruptedUntilItEnds(t *testing.T) {
	const given = patience + 5*time.Second // the default grace
	for name, kind := range map[string]struct {
		held       time.Duration
		begin      func(*kerneltest.Call)
		interrupts int // that it takes
	}{
		"interrupt lost": {given + time.Second, func(c *kerneltest.Call) { c.Busy(); c.ExecuteInput() }, 2},
		"busy before it was given up": {given - 50*time.Millisecond, func(c *kerneltest.Call) {
			c.Busy()
			time.Sleep(80 * time.Millisecond)
			c.ExecuteInput()
		}, 1},
		"busy and nothing more": {given - 50*time.Millisecond, (*kerneltest.Call).Busy, 1},
	} {
		bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
			interrupts := 0
			fake.OnRaw("held up", func(c *kerneltest.Call) {
				time.Sleep(kind.held)
				kind.begin(c)
				for interrupts < kind.interrupts && errors.Is(c.Sleep(time.Hour), kerneltest.ErrInterrupted) {
					interrupts++
				}
				c.Reply(nil)
				c.Idle()
			})
			giveUp(t, conn, "held up")
			time.Sleep(10 * time.Second)
			require.Equal(t, kernel.Idle, conn.State(), name)
			require.NoError(t, collect(t, execute(t, conn, "next")).err)
			time.Sleep(time.Minute)
			require.Equal(t, kind.interrupts, interrupts)
			fake.On("long", func(c *kerneltest.Call) {
				if errors.Is(c.Sleep(time.Minute), kerneltest.ErrInterrupted) {
					interrupts++
				}
			})
			require.NoError(t, collect(t, execute(t, conn, "long")).err)
			require.Equal(t, kind.interrupts, interrupts, "and not after its end")
		})
	}
}

func TestReplyThatIsLateCountsThoughTheContextIsDone(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.OnRaw("x", func(c *kerneltest.Call) {
			c.Busy()
			c.ExecuteInput()
			<-c.Interrupted()
			c.Idle() // and no reply
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		e, err := conn.Execute(ctx, &messaging.ExecuteRequest{Code: "x"}, nil)
		require.NoError(t, err)
		require.ErrorIs(t, collect(t, e).err, kernel.ErrNoReply)
		require.Equal(t, 2*time.Second, time.Since(start), "as soon as it is known to be lost")
		require.Equal(t, kernel.Idle, conn.State(), "it answers, so it is not stuck")
	})
}

func TestReplyThatCannotBeReadWholeIsSalvaged(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.OnRaw("odd", func(c *kerneltest.Call) {
			c.Busy()
			m := c.Message(messaging.Shell, &messaging.ExecuteReply{})
			m.Content = []byte(`{"status":"ok","execution_count":3,"payload":7}`)
			c.Send(m)
			c.Idle()
		})
		reply, err := execute(t, conn, "odd").Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, &messaging.ExecuteReply{Status: messaging.StatusOK, ExecutionCount: 3}, reply)
	})
}

func TestDeafKernelIsStuckUntilItIsRestarted(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("deaf", func(c *kerneltest.Call) { <-c.Done() })
		giveUp(t, conn, "deaf")
		_, err := conn.Execute(t.Context(), &messaging.ExecuteRequest{Code: "next"}, nil)
		require.ErrorIs(t, err, kernel.ErrStuck)
		_, err = conn.KernelInfo(t.Context())
		require.ErrorIs(t, err, kernel.ErrStuck)
	})
}

func TestDeathEndsTheRunAfterItsLastWords(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("die", func(c *kerneltest.Call) {
			c.Stream("stdout", "last words")
			c.Die()
		})
		waiting := make(chan error, 1)
		e := execute(t, conn, "die")
		go func() {
			_, err := conn.Execute(t.Context(), &messaging.ExecuteRequest{Code: "waiting"}, nil)
			waiting <- err
		}()
		s := collect(t, e)
		require.ErrorIs(t, s.err, kernel.ErrDead)
		require.Equal(t, []string{"last words"}, s.texts)
		require.ErrorIs(t, <-waiting, kernel.ErrDead)
		<-conn.Done()
		require.ErrorIs(t, conn.Err(), kernel.ErrDead)
		require.Equal(t, kernel.Dead, conn.State())
		_, err := conn.Execute(t.Context(), &messaging.ExecuteRequest{Code: "next"}, nil)
		require.ErrorIs(t, err, kernel.ErrDead)
	})
}

func TestCloseWhileRunning(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("long", func(c *kerneltest.Call) { <-c.Done() })
		e := execute(t, conn, "long")
		synctest.Wait()
		require.NoError(t, conn.Close())
		require.ErrorIs(t, collect(t, e).err, kernel.ErrClosed)
		require.NoError(t, conn.Close())
		_, err := conn.Execute(t.Context(), &messaging.ExecuteRequest{Code: "next"}, nil)
		require.ErrorIs(t, err, kernel.ErrClosed)
	})
}

func TestCloseOfARunInterruptsItAndFreesTheTurn(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("sleep", func(c *kerneltest.Call) { block(c) })
		e := execute(t, conn, "sleep")
		synctest.Wait()
		require.NoError(t, e.Close())
		require.NoError(t, e.Close())
		require.NoError(t, collect(t, execute(t, conn, "next")).err)
	})
}

func TestRunsFollowOneAnotherInOrder(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("slow", func(*kerneltest.Call) { time.Sleep(time.Second) })
		done := make(map[string]chan seen)
		first := execute(t, conn, "slow")
		for _, code := range []string{"a", "b", "c"} {
			result := make(chan seen, 1)
			done[code] = result
			go func() {
				e, err := conn.Execute(t.Context(), &messaging.ExecuteRequest{Code: code}, nil)
				if err != nil {
					result <- seen{err: err}
					return
				}
				result <- collect(t, e)
			}()
			synctest.Wait() // each waits before the next comes
		}
		require.NoError(t, collect(t, first).err)
		for _, code := range []string{"a", "b", "c"} {
			s := <-done[code]
			require.NoError(t, s.err)
			require.Equal(t, []string{code}, s.texts)
		}
		require.Equal(t, []string{"slow", "a", "b", "c"}, executed(t, fake))
	})
}

func TestDuplicatesShiftNothing(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.OnRaw("twice", func(c *kerneltest.Call) {
			c.Busy()
			c.Busy()
			c.Result(kerneltest.Text("1"))
			c.Reply(nil)
			c.Reply(nil)
			c.Idle()
			c.Idle()
			c.Reply(nil)
		})
		require.Equal(t, []string{"result 1"}, collect(t, execute(t, conn, "twice")).texts)
		for range 5 {
			require.Equal(t, []string{"echo"}, collect(t, execute(t, conn, "echo")).texts)
		}
	})
}

func TestUnknownTypesAndBrokenContentsAreNoEnd(t *testing.T) {
	var reported []error
	bubble(t, &kernel.Options{OnProtocolError: func(err error) { reported = append(reported, err) }},
		func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
			fake.On("odd", func(c *kerneltest.Call) {
				c.Publish(&messaging.UnknownContent{Type: "hologram"})
				c.Publish(&messaging.UnknownContent{Type: "stream", Raw: []byte(`{"text": [1, 2]}`)})
				c.Stream("stdout", "fine")
			})
			s := collect(t, execute(t, conn, "odd"))
			require.NoError(t, s.err)
			require.Equal(t, []string{"unknown hologram", "fine"}, s.texts)
			require.Len(t, reported, 1)
			var content *messaging.ContentError
			require.ErrorAs(t, reported[0], &content)
			require.Equal(t, "stream", content.MsgType)
		})
}

func TestRequestNobodyKnowsEndsWithNoReply(t *testing.T) {
	bubble(t, nil, func(t *testing.T, _ *kerneltest.Kernel, conn *kernel.Conn) {
		_, err := conn.Call(t.Context(), messaging.Shell, &messaging.UnknownContent{Type: "bogus_request"})
		require.ErrorIs(t, err, kernel.ErrNoReply)
		reply, err := conn.Complete(t.Context(), "ab", 2)
		require.NoError(t, err)
		require.Equal(t, messaging.StatusOK, reply.Status)
		_, err = conn.Inspect(t.Context(), "ab", 2, 0)
		require.NoError(t, err)
		whole, err := conn.IsComplete(t.Context(), "ab")
		require.NoError(t, err)
		require.NotEmpty(t, whole.Status)
		_, err = conn.History(t.Context(), &messaging.HistoryRequest{HistAccessType: "tail", N: 1})
		require.NoError(t, err)
	})
}

func TestBuffersComeWithTheirMessage(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("widget", func(c *kerneltest.Call) {
			m := c.Message(messaging.IOPub, &messaging.CommMsg{CommID: "w", Data: []byte(`{}`)})
			m.Buffers = [][]byte{{1, 2}, {}}
			c.Send(m)
		})
		e := execute(t, conn, "widget")
		var buffers [][]byte
		for event, err := range e.All(t.Context()) {
			require.NoError(t, err)
			if _, ok := event.Content.(*messaging.CommMsg); ok {
				buffers = event.Message.Buffers
			}
		}
		require.Equal(t, [][]byte{{1, 2}, {}}, buffers)
	})
}

func TestKernelThatNeverAnswersIsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := kerneltest.New(nil)
		fake.Die()
		conn := kernel.New(kerneltest.Pipe(fake), nil)
		_, err := conn.Ready(t.Context())
		require.ErrorIs(t, err, kernel.ErrDead)
		require.NoError(t, conn.Close())
		fake.Close()
	})
}
