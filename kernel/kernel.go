package kernel

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// shutdownGrace is how long a kernel that was asked to end may take before it is killed. An idle ipykernel needs
// 130 ms; a busy one would answer and go on until its cell ends.
const shutdownGrace = 300 * time.Millisecond

// Kernel is one kernel of an instance: its process, and the conversation with it. It keeps its identity over restarts.
// The caller ends it with Shutdown.
type Kernel struct {
	in   backends.Instance
	cfg  backends.KernelConfig
	opts Options

	change sync.Mutex     // held while the kernel restarts or ends, so one of these happens at a time
	ending sync.WaitGroup // of processes that were replaced; added to with change held

	mu   sync.Mutex // guards what follows; taken before a Conn's
	live live
	taps map[*Subscription]struct{} // that outlast a restart
}

// live is what a restart replaces.
type live struct {
	process backends.KernelProcess
	conn    *Conn
	info    *messaging.KernelInfoReply
	watched chan struct{} // closed when the watcher of the process has ended
	unwatch context.CancelFunc
}

// Start starts a kernel and waits until it is ready; ctx bounds the start only. Errors: *backends.SpecNotFoundError,
// *backends.StartError with what the process said, the cause of ctx.
func Start(ctx context.Context, in backends.Instance, cfg backends.KernelConfig, opts *Options) (*Kernel, error) {
	k := &Kernel{in: in, cfg: cfg, opts: opts.withDefaults()}
	l, err := k.start(ctx)
	if err != nil {
		return nil, fmt.Errorf("kernel: %w", err)
	}
	k.live = l
	return k, nil
}

func (k *Kernel) start(ctx context.Context) (live, error) {
	return k.startFrom(ctx, func(ctx context.Context) (backends.KernelProcess, error) { return k.in.StartKernel(ctx, k.cfg) })
}

// startFrom has a process started and waits until it is ready.
func (k *Kernel) startFrom(ctx context.Context, launch func(context.Context) (backends.KernelProcess, error)) (live, error) {
	process, err := launch(ctx)
	if err != nil {
		return live{}, err
	}
	l := live{process: process}
	if err := k.connect(ctx, &l); err != nil {
		k.kill(process)
		if l.conn != nil {
			l.stop()
		}
		return live{}, err
	}
	return l, nil
}

// connect does the first exchange with a fresh process.
func (k *Kernel) connect(ctx context.Context, l *live) error {
	transport, err := l.process.Connect(ctx)
	if err != nil {
		return err
	}
	*l = k.converse(transport, l.process, nil)
	if l.info, err = l.conn.Ready(ctx); err != nil {
		return k.handshakeError(ctx, l, err)
	}
	return nil
}

// converse begins the conversation with a process, and watches that.
func (k *Kernel) converse(transport messaging.Transport, process backends.KernelProcess, adopting *adoption) live {
	opts := k.opts
	if opts.Interrupt == nil && process.Spec().InterruptMode != "message" {
		opts.Interrupt = func(ctx context.Context) error { return process.Signal(ctx, backends.Interrupt) }
	}
	l := live{process: process, conn: newConn(transport, &opts, true, adopting)}
	l.watch()
	return l
}

// handshakeError says why a process did not answer.
func (k *Kernel) handshakeError(ctx context.Context, l *live, err error) error {
	start := &backends.StartError{Kernel: l.process.Spec().Name, Stage: "handshake", Err: err}
	if exit := new(backends.ExitError); !errors.As(err, &exit) {
		start.Diagnosis = l.process.Diagnose(context.WithoutCancel(ctx))
	}
	return start
}

// Abandon ends the conversation and leaves the process as it is, for another program to adopt.
func (k *Kernel) Abandon() {
	k.change.Lock()
	defer k.change.Unlock()
	l := k.current()
	l.stop()
}

// watch tells the conversation when the process ends.
func (l *live) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	l.unwatch = cancel
	l.watched = make(chan struct{})
	conn, process, watched := l.conn, l.process, l.watched
	go func() {
		defer close(watched)
		status, err := process.Wait(ctx)
		switch {
		case err == nil:
			conn.exited(&backends.ExitError{Status: status, Output: process.Diagnose(ctx)})
		case ctx.Err() == nil:
			conn.exited(err)
		}
	}()
}

// stop ends the conversation and the watcher; the process must be ended already or left to its instance.
func (l *live) stop() {
	_ = l.conn.Close()
	l.unwatch()
	<-l.watched
}

func (k *Kernel) current() live {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.live
}

// Conn is the conversation with the kernel; a restart replaces it.
func (k *Kernel) Conn() *Conn { return k.current().conn }

// Process is the kernel's process; a restart replaces it.
func (k *Kernel) Process() backends.KernelProcess { return k.current().process }

// Info is what the kernel said of itself when it was ready.
func (k *Kernel) Info() *messaging.KernelInfoReply { return k.current().info }

// Spec is the recipe of the kernel.
func (k *Kernel) Spec() messaging.KernelSpec { return k.current().process.Spec() }

// Interrupt stops what the kernel runs, by signal or message as its kernelspec says; an idle kernel ignores it. While
// the kernel restarts it waits, because a signal would kill a kernel that is not ready.
func (k *Kernel) Interrupt(ctx context.Context) error {
	k.change.Lock()
	conn := k.Conn()
	k.change.Unlock()
	if err := conn.Err(); err != nil {
		return err
	}
	return conn.interrupt(ctx)
}

// Restart ends the process and starts another from the same recipe in the same place: variables are lost, working
// directory and environment stay. Runs under way or waiting end with ErrDead. ctx bounds the start of the new one; when that
// fails the kernel stays dead, and Restart may be tried again.
func (k *Kernel) Restart(ctx context.Context) error {
	k.change.Lock()
	defer k.change.Unlock()
	return k.restart(ctx)
}

// Revive is Restart for a kernel that is dead; to one that lives, or that somebody else restarts at this moment, it does nothing.
func (k *Kernel) Revive(ctx context.Context) (revived bool, err error) {
	k.change.Lock()
	defer k.change.Unlock()
	if k.Conn().Err() == nil {
		return false, nil
	}
	err = k.restart(ctx)
	return err == nil, err
}

// restart is called with change held.
func (k *Kernel) restart(ctx context.Context) error {
	old := k.current()
	k.end(ctx, &old, true)
	l, err := k.start(ctx)
	if err != nil {
		return fmt.Errorf("kernel: restart: %w", err)
	}
	k.replace(l)
	return nil
}

// replace makes l what the kernel is from now on; those who listen go over to it.
func (k *Kernel) replace(l live) {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.live
	k.live = l
	for s := range k.taps {
		if old.conn.unsubscribe(s) { // it lives on for a moment, after a Rollback
			s.broken(ErrClosed)
		}
		l.conn.subscribe(s)
	}
}

// Shutdown asks the kernel to end, interrupting what it runs, and kills it and its group when it has not within 300 ms.
// It waits for the process and for the connection's goroutines, and is idempotent.
func (k *Kernel) Shutdown(ctx context.Context) error {
	k.change.Lock()
	defer k.change.Unlock()
	l := k.current()
	k.end(ctx, &l, false)
	k.ending.Wait()
	return nil
}

// end ends a process politely, then certainly, and its conversation.
func (k *Kernel) end(ctx context.Context, l *live, restart bool) {
	if state := l.conn.State(); state != Dead {
		grace, cancel := context.WithTimeout(ctx, shutdownGrace)
		defer cancel()
		if state != Stuck {
			if state == Busy {
				_ = l.conn.interrupt(grace) // the kill below is the answer to every failure here
			}
			_, _ = l.conn.Call(grace, messaging.Control, &messaging.ShutdownRequest{Restart: restart})
			_, _ = l.process.Wait(grace)
		}
	}
	k.kill(l.process)
	// Runs under way end with how the process ended, not with our closing.
	select {
	case <-l.conn.Done():
	case <-time.After(4 * drainGrace):
	}
	l.stop()
}

// killPatience bounds how long the end of a killed process is waited for.
const killPatience = 2 * time.Second

// kill ends a process and its group for certain. A process that is gone already is no error; one that can't be
// reached any more ends with its instance.
func (k *Kernel) kill(process backends.KernelProcess) {
	ctx, cancel := context.WithTimeout(context.Background(), killPatience)
	defer cancel()
	if err := process.Signal(ctx, backends.Kill); err != nil {
		k.opts.Logger.Warn("kill kernel", "error", err)
		return
	}
	if _, err := process.Wait(ctx); err != nil {
		k.opts.Logger.Warn("wait for killed kernel", "error", err)
	}
}
