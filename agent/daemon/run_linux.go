package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/ds-sandbox/ds-sandbox/agent"
)

// Run serves hosts on the socket until ctx ends, SIGTERM comes, or no host was heard for too long; then it ends everything. Started
// as root it is root by its real id alone, so that the code, whose user it works as, can neither signal nor trace it.
func Run(ctx context.Context, opts Options) (err error) {
	opts.complete()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	// What a shell or a terminal would send, and whatever else the code may come to send if it is root.
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGALRM, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
	syscall.Umask(0o022)
	listener, err := listen(opts.Socket)
	if err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	defer func() { _ = listener.Close() }()
	if os.Getuid() == 0 {
		if err := opts.settle(); err != nil {
			return fmt.Errorf("daemon: %w", err)
		}
	}
	if os.Getpid() == 1 {
		go reap(ctx)
		if agent.MemoryBounded(cgroupRoot) {
			go keepReserve(ctx, opts.Launcher, opts.Logger)
		}
	}
	d := New(opts)
	accepted := make(chan error, 1)
	go func() { accepted <- d.accept(listener) }()
	d.wait(ctx)
	_ = listener.Close()
	return errors.Join(d.Close(), <-accepted)
}

// settle makes the folders the user's and becomes the user, as far as files and signals go.
func (o *Options) settle() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	o.Launcher = []string{self, "as-user", strconv.Itoa(o.UID), strconv.Itoa(o.GID), "--"}
	o.accounts = true
	if mayGain() {
		o.rootable = []string{self, "as-root", "--"}
	}
	if o.Measured == nil {
		// What the system leaves to everybody, and our own folders, which are the user's.
		o.Measured = []string{o.Private, o.Runtime, "/run/lock", "/tmp", "/var/tmp", "/dev/shm"}
	}
	for _, dir := range []string{o.Workspace, o.Private, o.Runtime} {
		if err := makeUsers(dir, o.UID, o.GID); err != nil {
			return err
		}
	}
	return lower(o.UID, o.GID)
}

// wait waits for a reason to end.
func (d *Daemon) wait(ctx context.Context) {
	ticker := time.NewTicker(silenceTick) // which skips what it was too late for
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if d.silence.tick() {
				d.opts.Logger.Warn("no host was heard for too long, ending")
				return
			}
		}
	}
}

// listen makes the socket, in a folder that is ours alone.
func listen(path string) (*net.UnixListener, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(st.Uid) != os.Getuid() {
		return nil, fmt.Errorf("folder %s of the socket is not ours", dir)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false) // as the user we may not
	return listener, nil
}

// accept serves connections until the listener is closed.
func (d *Daemon) accept(listener *net.UnixListener) error {
	for {
		conn, err := listener.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			d.opts.Logger.Warn("accept host", "error", err)
			time.Sleep(silenceTick) // out of descriptors, say
			continue
		}
		if err := checkPeer(conn); err != nil {
			d.opts.Logger.Warn("refuse host", "error", err)
			_ = conn.Close()
			continue
		}
		go func() {
			if err := d.ServeConn(conn); err != nil {
				d.opts.Logger.Warn("refuse host", "error", err)
			}
		}()
	}
}

// checkPeer refuses everybody but our own real user.
func checkPeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var peer *syscall.Ucred
	var peerErr error
	err = raw.Control(func(fd uintptr) {
		peer, peerErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, peerErr); err != nil {
		return err
	}
	// gVisor shows the one who asks instead of the peer; there the folder of the socket, which is our real user's alone, is what counts.
	// A peer that is ourselves can't be: we dial nobody.
	if int(peer.Pid) != os.Getpid() && int(peer.Uid) != os.Getuid() {
		return fmt.Errorf("user %d may not speak to the agent", peer.Uid)
	}
	return nil
}
