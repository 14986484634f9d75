package main

import (
	"context"
	"errors"
	"os"
)

// watchSignals calls f with each signal and its number, from 1, until stop is called. stop waits for a call under way.
func watchSignals(signals <-chan os.Signal, f func(sig os.Signal, n int)) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := 1; ; n++ {
			select {
			case sig := <-signals:
				f(sig, n)
			case <-quit:
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// cancelOnSignal ends the result at the first signal, with a *signalError as the cause. stop waits for its goroutine.
func cancelOnSignal(ctx context.Context, signals <-chan os.Signal) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	unwatch := watchSignals(signals, func(sig os.Signal, _ int) { cancel(&signalError{sig}) })
	return ctx, func() {
		unwatch()
		cancel(nil)
	}
}

// signalCause is the signal that ended ctx, if one did, and else err.
func signalCause(ctx context.Context, err error) error {
	var sig *signalError
	if err != nil && errors.As(context.Cause(ctx), &sig) {
		return sig
	}
	return err
}
