package kerneltest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/kernel/kerneltest"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// overPipe runs a test in a bubble, with a kernel and a client in memory.
func overPipe(t *testing.T, opts *kerneltest.Options, test func(t *testing.T, k *kerneltest.Kernel, c *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := kerneltest.New(opts)
		defer k.Close()
		c := newClient(kerneltest.Pipe(k))
		defer func() { require.NoError(t, c.transport.Close()) }()
		test(t, k, c)
	})
}

func TestCodeWithoutScriptIsEchoed(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, _ *kerneltest.Kernel, c *client) {
		id := c.send(t, messaging.Shell, execute("hello\n"))
		require.Equal(t, []string{
			"iopub status busy", "iopub execute_input 1 hello\n", "iopub stream stdout hello\n",
			"shell execute_reply ok 1", "iopub status idle",
		}, c.lines(t, 5, id))
	})
}

func TestExecutionsAreCountedAsIPythonDoes(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, _ *kerneltest.Kernel, c *client) {
		req := execute("a")
		req.StoreHistory = false
		require.Equal(t, []string{
			"iopub status busy", "iopub execute_input 1 a", "iopub stream stdout a", "shell execute_reply ok 0", "iopub status idle",
		}, c.lines(t, 5, c.send(t, messaging.Shell, req)))
		require.Contains(t, c.lines(t, 5, c.send(t, messaging.Shell, execute("b"))), "shell execute_reply ok 1")
		req.Silent = true
		require.Equal(t, []string{
			"iopub status busy", "iopub stream stdout a", "shell execute_reply ok 1", "iopub status idle",
		}, c.lines(t, 4, c.send(t, messaging.Shell, req)))
		require.Contains(t, c.lines(t, 5, c.send(t, messaging.Shell, execute("c"))), "iopub execute_input 2 c")
	})
}

func TestEveryOutputHasItsMessage(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		k.On("all", func(c *kerneltest.Call) {
			c.Stream(messaging.Stderr, "e")
			c.Display(kerneltest.Text("d"), "id")
			c.Update(kerneltest.Text("u"), "id")
			c.Clear(true)
			c.Result(kerneltest.Text("r"))
			c.Error("ValueError", "no", "line 1")
		})
		id := c.send(t, messaging.Shell, execute("all"))
		c.lines(t, 2, id)
		for _, want := range []messaging.Content{
			&messaging.Stream{Name: "stderr", Text: "e"},
			&messaging.DisplayData{
				Data: kerneltest.Text("d"), Metadata: messaging.MIMEBundle{}, Transient: messaging.Transient{DisplayID: "id"},
			},
			&messaging.UpdateDisplayData{
				Data: kerneltest.Text("u"), Metadata: messaging.MIMEBundle{}, Transient: messaging.Transient{DisplayID: "id"},
			},
			&messaging.ClearOutput{Wait: true},
			&messaging.ExecuteResult{Data: kerneltest.Text("r"), Metadata: messaging.MIMEBundle{}, ExecutionCount: 1},
			&messaging.ErrorOutput{EName: "ValueError", EValue: "no", Traceback: []string{"line 1"}},
			&messaging.ExecuteReply{
				Status: messaging.StatusError, ExecutionCount: 1,
				ReplyError: messaging.ReplyError{EName: "ValueError", EValue: "no", Traceback: []string{"line 1"}},
			},
			&messaging.Status{ExecutionState: messaging.StateIdle},
		} {
			got, err := c.recv(t).Decode()
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	})
}

func TestUserExpressionsAreEchoed(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, _ *kerneltest.Kernel, c *client) {
		req := execute("")
		req.UserExpressions = map[string]string{"x": "1+1"}
		c.send(t, messaging.Shell, req)
		var reply *messaging.ExecuteReply
		for reply == nil {
			content, err := c.recv(t).Decode()
			require.NoError(t, err)
			reply, _ = content.(*messaging.ExecuteReply)
		}
		require.Equal(t, 0, reply.ExecutionCount, "empty code is not counted")
		require.Equal(t, messaging.UserExpression{Status: "ok", Data: kerneltest.Text("1+1")}, reply.UserExpressions["x"])
	})
}

func TestRawScriptSendsNothingByItself(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		k.OnRaw("odd", func(c *kerneltest.Call) {
			c.Idle()
			c.Reply(nil)
			c.Stream(messaging.Stdout, "late")
		})
		id := c.send(t, messaging.Shell, execute("odd"))
		require.Equal(t, []string{"iopub status idle", "shell execute_reply ok 1", "iopub stream stdout late"}, c.lines(t, 3, id))
		id = c.send(t, messaging.Shell, execute("next"))
		require.Equal(t, "iopub status busy", c.lines(t, 1, id)[0], "nothing came in between")
	})
}

func TestScriptThatRepliedIsNotRepliedTwice(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		k.On("x", func(c *kerneltest.Call) {
			c.Idle()
			c.Reply(&messaging.ExecuteReply{Status: messaging.StatusOK, ExecutionCount: 7})
		})
		id := c.send(t, messaging.Shell, execute("x"))
		require.Equal(t, []string{"iopub status idle", "shell execute_reply ok 7"}, c.lines(t, 4, id)[2:])
		c.send(t, messaging.Shell, execute("y"))
		require.Equal(t, "iopub status busy", line(c.recv(t)))
	})
}

func TestForeignParentlessAndOtherSessionsMessages(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		k.OnRaw("x", func(c *kerneltest.Call) {
			c.Foreign().Stream(messaging.Stdout, "foreign")
			c.Under(nil).Status(messaging.StateIdle)
			c.As("elsewhere").Stream(messaging.Stdout, "session")
			c.Stream(messaging.Stdout, "own")
		})
		id := c.send(t, messaging.Shell, execute("x"))
		foreign, bare, session, own := c.recv(t), c.recv(t), c.recv(t), c.recv(t)
		require.NotEmpty(t, foreign.ParentID())
		require.NotEqual(t, id.MsgID, foreign.ParentID())
		require.Nil(t, bare.Parent)
		require.Equal(t, "elsewhere", session.Header.Session)
		require.Equal(t, id.MsgID, session.ParentID())
		require.Equal(t, id.MsgID, own.ParentID())
		require.NotEqual(t, "elsewhere", own.Header.Session)
		k.Unasked().Status(messaging.StateStarting)
		starting := c.recv(t)
		require.Equal(t, "iopub status starting", line(starting))
		require.Nil(t, starting.Parent)
	})
}

func TestErrorAbortsWhatIsQueued(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		k.On("bad", func(c *kerneltest.Call) {
			_ = c.Sleep(time.Second) // until the others are queued
			c.Error("E", "")
		})
		bad := c.send(t, messaging.Shell, execute("bad"))
		queued := c.send(t, messaging.Shell, execute("queued"))
		info := c.send(t, messaging.Shell, &messaging.KernelInfoRequest{})
		require.Contains(t, c.lines(t, 5, bad), "shell execute_reply error 1")
		require.Equal(t, []string{"iopub status busy", "shell execute_reply aborted 0", "iopub status idle"}, c.lines(t, 3, queued))
		require.Contains(t, c.lines(t, 3, info), "shell kernel_info_reply")
		later := c.send(t, messaging.Shell, execute("later"))
		require.Contains(t, c.lines(t, 5, later), "shell execute_reply ok 2")
	})
}

func TestControlIsAnsweredWhileShellIsBusy(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		k.On("sleep", func(c *kerneltest.Call) {
			if errors.Is(c.Sleep(time.Hour), kerneltest.ErrInterrupted) {
				c.KeyboardInterrupt()
			}
		})
		run := c.send(t, messaging.Shell, execute("sleep"))
		c.lines(t, 2, run)
		behind := c.send(t, messaging.Shell, &messaging.KernelInfoRequest{})
		info := c.send(t, messaging.Control, &messaging.KernelInfoRequest{})
		require.Equal(t, []string{"iopub status busy", "control kernel_info_reply", "iopub status idle"}, c.lines(t, 3, info))
		c.send(t, messaging.Control, &messaging.InterruptRequest{})
		var got []string
		for len(got) < 3+3+3 {
			got = append(got, line(c.recv(t)))
		}
		require.Contains(t, got, "control interrupt_reply")
		require.Contains(t, got, "iopub error")
		require.Contains(t, got, "shell execute_reply error 1")
		require.Contains(t, got, "shell kernel_info_reply")
		require.Len(t, k.Received("kernel_info_request"), 2)
		require.NotEqual(t, behind.MsgID, info.MsgID)
	})
}

func TestInterruptOfIdleKernelIsIgnored(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		k.Interrupt()
		k.On("nap", func(c *kerneltest.Call) {
			if c.Sleep(time.Second) != nil {
				c.Error("E", "")
			}
		})
		require.Contains(t, c.lines(t, 4, c.send(t, messaging.Shell, execute("nap"))), "shell execute_reply ok 1")
	})
}

func TestInput(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		k.On("ask", func(c *kerneltest.Call) {
			value, err := c.Input("name? ", true)
			if err != nil {
				value = err.Error()
			}
			c.Stream(messaging.Stdout, value)
		})
		answer := func(value string) {
			m := c.recv(t)
			content, err := m.Decode()
			require.NoError(t, err)
			require.Equal(t, &messaging.InputRequest{Prompt: "name? ", Password: true}, content)
			require.Equal(t, messaging.Stdin, m.Channel)
			c.send(t, messaging.Stdin, &messaging.InputReply{Value: value})
		}
		c.send(t, messaging.Stdin, &messaging.InputReply{Value: "too early"})
		c.lines(t, 2, c.send(t, messaging.Shell, execute("ask")))
		answer("Ada")
		require.Equal(t, "iopub stream stdout Ada", line(c.recv(t)))
		c.recv(t)
		c.recv(t)

		c.lines(t, 2, c.send(t, messaging.Shell, execute("ask")))
		answer(messaging.EndOfInput)
		require.Equal(t, "iopub stream stdout EOF", line(c.recv(t)))
		c.recv(t)
		c.recv(t)

		c.lines(t, 3, c.send(t, messaging.Shell, execute("ask")))
		k.Interrupt()
		require.Equal(t, "iopub stream stdout "+kerneltest.ErrInterrupted.Error(), line(c.recv(t)))
		c.recv(t)
		c.recv(t)

		req := execute("ask")
		req.AllowStdin = false
		require.Contains(t, c.lines(t, 5, c.send(t, messaging.Shell, req)), "iopub stream stdout "+kerneltest.ErrNoStdin.Error())
	})
}

func TestStandardAnswers(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		k.On("import numpy", nil)
		k.On("import pandas", nil)
		c.lines(t, 4, c.send(t, messaging.Shell, execute("import numpy")))
		ask := func(body messaging.Content) messaging.Content {
			t.Helper()
			c.send(t, messaging.Shell, body)
			require.Equal(t, "iopub status busy", line(c.recv(t)))
			content, err := c.recv(t).Decode()
			require.NoError(t, err)
			require.Equal(t, "iopub status idle", line(c.recv(t)))
			return content
		}
		require.Equal(t, "echo", ask(&messaging.KernelInfoRequest{}).(*messaging.KernelInfoReply).LanguageInfo.Name)
		require.Equal(t, &messaging.IsCompleteReply{Status: "incomplete", Indent: "    "}, ask(&messaging.IsCompleteRequest{Code: "if x: "}))
		require.Equal(t, &messaging.IsCompleteReply{Status: "complete"}, ask(&messaging.IsCompleteRequest{Code: "x"}))
		complete := ask(&messaging.CompleteRequest{Code: "import xyz", CursorPos: 7}).(*messaging.CompleteReply)
		require.Equal(t, []string{"import numpy", "import pandas"}, complete.Matches)
		require.Equal(t, 7, complete.CursorEnd)
		require.True(t, ask(&messaging.InspectRequest{Code: "import numpy"}).(*messaging.InspectReply).Found)
		require.False(t, ask(&messaging.InspectRequest{Code: "nothing"}).(*messaging.InspectReply).Found)
		require.Equal(t, []messaging.HistoryEntry{{Session: 1, Line: 1, Input: "import numpy"}},
			ask(&messaging.HistoryRequest{HistAccessType: "tail", N: 5}).(*messaging.HistoryReply).History)
		require.Empty(t, ask(&messaging.CommInfoRequest{}).(*messaging.CommInfoReply).Comms)
		id := c.send(t, messaging.Shell, &messaging.UsageRequest{})
		require.Equal(t, []string{"iopub status busy", "iopub status idle"}, c.lines(t, 2, id), "an unknown request gets no reply")
	})
}

func TestOpenCommEchoesWithBuffers(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, _ *kerneltest.Kernel, c *client) {
		c.lines(t, 2, c.send(t, messaging.Shell, &messaging.CommOpen{CommID: "1", TargetName: "t"}))
		m, err := c.session.New(messaging.Shell, &messaging.CommMsg{CommID: "1", Data: []byte(`{"a":1}`)})
		require.NoError(t, err)
		m.Buffers = [][]byte{{1, 2}, {3}}
		require.NoError(t, c.transport.Send(t.Context(), m))
		c.recv(t)
		echo := c.recv(t)
		require.Equal(t, m.Buffers, echo.Buffers)
		require.JSONEq(t, `{"comm_id":"1","data":{"a":1}}`, string(echo.Content))
		require.Equal(t, "iopub status idle", line(c.recv(t)))
		c.lines(t, 2, c.send(t, messaging.Shell, &messaging.CommClose{CommID: "1"}))
		c.lines(t, 2, c.send(t, messaging.Shell, &messaging.CommMsg{CommID: "1"}))
	})
}

func TestHandleReplacesAnAnswer(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		k.Handle("kernel_info_request", func(*kerneltest.Call) {})
		require.Equal(t, []string{"iopub status busy", "iopub status idle"},
			c.lines(t, 2, c.send(t, messaging.Shell, &messaging.KernelInfoRequest{})))
		k.HandleRaw("kernel_info_request", func(c *kerneltest.Call) {
			c.Answer(&messaging.KernelInfoReply{Status: messaging.StatusError})
		})
		require.Equal(t, []string{"shell kernel_info_reply"}, c.lines(t, 1, c.send(t, messaging.Shell, &messaging.KernelInfoRequest{})))
		k.Handle("execute_request", func(c *kerneltest.Call) { c.Stream(messaging.Stdout, "any: "+c.Execute.Code) })
		require.Contains(t, c.lines(t, 5, c.send(t, messaging.Shell, execute("x"))), "iopub stream stdout any: x")
	})
}

func TestShutdownEndsAnIdleKernelAndWaitsForABusyOne(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		release := make(chan struct{})
		k.On("long", func(*kerneltest.Call) { <-release })
		c.lines(t, 2, c.send(t, messaging.Shell, execute("long")))
		id := c.send(t, messaging.Control, &messaging.ShutdownRequest{Restart: true})
		require.Equal(t, []string{
			"iopub status busy", "control shutdown_reply", "iopub shutdown_reply", "iopub status idle",
		}, c.lines(t, 4, id))
		synctest.Wait()
		select {
		case <-k.Done():
			t.Fatal("a busy kernel ended")
		default:
		}
		close(release)
		require.Equal(t, "shell execute_reply ok 1", line(c.recv(t)))
		require.Equal(t, "iopub status idle", line(c.recv(t)))
		<-k.Done()
		_, err := c.transport.Recv(t.Context())
		require.ErrorIs(t, err, io.EOF)
	})
}

func TestDeathIsSeenAfterWhatWasSent(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		k.On("die", func(c *kerneltest.Call) {
			c.Stream(messaging.Stdout, "last words")
			c.Die()
			c.Stream(messaging.Stdout, "from the grave")
		})
		id := c.send(t, messaging.Shell, execute("die"))
		require.Equal(t, []string{
			"iopub status busy", "iopub execute_input 1 die", "iopub stream stdout last words",
		}, c.lines(t, 3, id))
		_, err := c.transport.Recv(t.Context())
		require.ErrorIs(t, err, io.EOF)
		m, err := c.session.New(messaging.Shell, execute("x"))
		require.NoError(t, err)
		require.ErrorIs(t, c.transport.Send(t.Context(), m), kerneltest.ErrEnded)
		_, err = kerneltest.Pipe(k).Recv(t.Context())
		require.ErrorIs(t, err, io.EOF, "a client that comes too late")
	})
}

func TestDeathEndsWaitingScripts(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		errs := make(chan error, 3)
		k.On("wait", func(c *kerneltest.Call) {
			c.Go(func() { errs <- c.Sleep(time.Hour) })
			_, err := c.Input("", false)
			errs <- err
			<-c.Interrupted()
			<-c.Done()
			errs <- c.Sleep(time.Hour)
		})
		c.lines(t, 3, c.send(t, messaging.Shell, execute("wait")))
		k.Die()
		for range 3 {
			require.ErrorIs(t, <-errs, kerneltest.ErrEnded)
		}
	})
}

func TestThreadsPrintAfterIdle(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		k.On("thread", func(c *kerneltest.Call) {
			c.Go(func() {
				if c.Sleep(time.Second) == nil {
					c.Stream(messaging.Stdout, "late")
				}
			})
		})
		id := c.send(t, messaging.Shell, execute("thread"))
		start := time.Now()
		require.Equal(t, "iopub status idle", c.lines(t, 4, id)[3])
		require.Zero(t, time.Since(start))
		require.Equal(t, "iopub stream stdout late", c.lines(t, 1, id)[0])
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestBreakGivesItsErrorAndSparesTheKernel(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		broken := errors.New("cable cut")
		c.send(t, messaging.Shell, execute("lost"))
		synctest.Wait()
		k.Break(broken)
		_, err := c.transport.Recv(t.Context())
		require.ErrorIs(t, err, broken)
		m, err := c.session.New(messaging.Shell, execute("x"))
		require.NoError(t, err)
		require.ErrorIs(t, c.transport.Send(t.Context(), m), broken)
		other := newClient(kerneltest.Pipe(k))
		require.Contains(t, other.lines(t, 5, other.send(t, messaging.Shell, execute("x"))), "shell execute_reply ok 2")
	})
}

func TestDelayHoldsOneChannelBack(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		k.Delay(messaging.IOPub, 3*time.Second)
		start := time.Now()
		id := c.send(t, messaging.Shell, execute("x"))
		require.Equal(t, "shell execute_reply ok 1", c.lines(t, 1, id)[0])
		require.Zero(t, time.Since(start))
		synctest.Wait() // the idle is on its way too
		k.Delay(messaging.IOPub, 0)
		k.Unasked().Under(id).Stream(messaging.Stdout, "after")
		require.Equal(t, []string{
			"iopub status busy", "iopub execute_input 1 x", "iopub stream stdout x", "iopub status idle", "iopub stream stdout after",
		}, c.lines(t, 5, id))
		require.Equal(t, 3*time.Second, time.Since(start))
	})
}

func TestHighWaterDropsIOPubOnly(t *testing.T) {
	overPipe(t, &kerneltest.Options{HighWater: 2}, func(t *testing.T, _ *kerneltest.Kernel, c *client) {
		id := c.send(t, messaging.Shell, execute("x"))
		synctest.Wait()
		require.Equal(t, []string{"iopub status busy", "iopub execute_input 1 x", "shell execute_reply ok 1"}, c.lines(t, 3, id))
		id = c.send(t, messaging.Shell, &messaging.KernelInfoRequest{})
		require.Equal(t, "iopub status busy", c.lines(t, 1, id)[0], "the idle was lost")
	})
}

func TestWhatCannotBeReadIsSkippedAndTold(t *testing.T) {
	errs := make(chan error, 10)
	overPipe(t, &kerneltest.Options{OnError: func(err error) { errs <- err }}, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		k.OnRaw("x", func(c *kerneltest.Call) {
			frames := c.Encode(c.Message(messaging.IOPub, &messaging.Stream{Name: "stdout", Text: "evil"}))
			frames[2] = make([]byte, 64)
			c.Frames(messaging.IOPub, frames)
			c.Frames(messaging.IOPub, [][]byte{[]byte("no message")})
			c.Bytes(messaging.IOPub, []byte("ignored by a pipe"))
			c.Stream(messaging.Stdout, "good")
		})
		id := c.send(t, messaging.Shell, execute("x"))
		require.Equal(t, "iopub stream stdout good", c.lines(t, 1, id)[0])
		require.ErrorIs(t, <-errs, messaging.ErrSignature)
		require.ErrorIs(t, <-errs, messaging.ErrDelimiter)
		require.Empty(t, errs)
	})
}

func TestAwaitAndReceived(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		go func() {
			time.Sleep(time.Minute)
			c.send(t, messaging.Shell, execute("a"))
			c.send(t, messaging.Shell, execute("b"))
		}()
		require.NoError(t, k.Await(t.Context(), "execute_request", 2))
		got := k.Received("execute_request")
		require.Len(t, got, 2)
		require.Contains(t, string(got[1].Content), `"b"`)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		require.ErrorIs(t, k.Await(ctx, "execute_request", 3), context.DeadlineExceeded)
		k.Die()
		require.ErrorIs(t, k.Await(t.Context(), "execute_request", 3), kerneltest.ErrEnded)
	})
}

func TestPipeEndsWithItsContextAndClose(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, _ *kerneltest.Kernel, c *client) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.transport.Recv(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		m, err := c.session.New(messaging.Shell, execute("x"))
		require.NoError(t, err)
		require.ErrorIs(t, c.transport.Send(ctx, m), context.DeadlineExceeded)
		m.Channel = messaging.IOPub
		require.ErrorContains(t, c.transport.Send(t.Context(), m), `channel "iopub"`)
		m.Channel = messaging.Shell
		done := make(chan error)
		go func() {
			_, err := c.transport.Recv(context.Background())
			done <- err
		}()
		synctest.Wait()
		require.NoError(t, c.transport.Close())
		require.ErrorIs(t, <-done, net.ErrClosed)
		require.ErrorIs(t, c.transport.Send(t.Context(), m), net.ErrClosed)
		require.NoError(t, c.transport.Close())
	})
}

func TestScriptWaitsForASlowClientAndEndsWithTheKernel(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		text := strings.Repeat("x", 1<<20)
		sent := 0
		k.On("much", func(c *kerneltest.Call) {
			for sent = 0; sent < 1000 && !ended(c); sent++ {
				c.Stream(messaging.Stdout, text)
			}
		})
		c.send(t, messaging.Shell, execute("much"))
		synctest.Wait()
		k.Close()
		require.Less(t, sent, 100, "bytes that wait are bounded")
	})
}

func ended(c *kerneltest.Call) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

func TestTwoClientsHearIOPubAndTheirOwnReplies(t *testing.T) {
	overPipe(t, &kerneltest.Options{Welcome: true}, func(t *testing.T, k *kerneltest.Kernel, c *client) {
		other := newClient(kerneltest.Pipe(k))
		for _, each := range []*client{c, other} {
			require.Equal(t, "iopub iopub_welcome", line(each.recv(t)))
		}
		id := c.send(t, messaging.Shell, execute("x"))
		require.Contains(t, c.lines(t, 5, id), "shell execute_reply ok 1")
		require.NotContains(t, other.lines(t, 4, id), "shell execute_reply ok 1")
	})
}
