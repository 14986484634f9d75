package daemon

import (
	"context"
	"io"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// acting is all files as a user has them.
type acting struct {
	calls, beside *crew
	fs            agent.WholeFiles
}

var _ backends.FileSystem = (*acting)(nil)

// newActing makes it; close ends it.
func newActing(in *agent.Instance, root bool) (_ *acting, err error) {
	a := &acting{calls: newCrew(root, callThreads), beside: newCrew(root, besideThreads)}
	a.fs, err = in.WholeFiles(func(act func()) error { return a.beside.do(context.Background(), act) })
	return a, err
}

func (a *acting) close() error {
	a.calls.end()
	err := a.fs.Close() // its watches need the others until then
	a.beside.end()
	return err
}

// with is what a call as a user returns.
func with[T any](ctx context.Context, a *acting, call func() (T, error)) (out T, err error) {
	if refused := a.calls.do(ctx, func() { out, err = call() }); refused != nil {
		err = refused
	}
	return out, err
}

// done is with for calls that return an error only.
func (a *acting) done(ctx context.Context, call func() error) error {
	_, err := with(ctx, a, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

// Open opens as the user. What is open may be read by anybody.
func (a *acting) Open(ctx context.Context, name string, opts *backends.OpenOptions) (io.ReadCloser, error) {
	return with(ctx, a, func() (io.ReadCloser, error) { return a.fs.Open(ctx, name, opts) })
}

// Write has what is written read here: that takes as long as the host likes.
func (a *acting) Write(ctx context.Context, name string, r io.Reader, opts *backends.WriteOptions) (int64, error) {
	return a.fs.Write(ctx, name, r, opts)
}

func (a *acting) Stat(ctx context.Context, name string) (backends.FileInfo, error) {
	return with(ctx, a, func() (backends.FileInfo, error) { return a.fs.Stat(ctx, name) })
}

func (a *acting) List(ctx context.Context, name string, depth int) ([]backends.FileInfo, error) {
	return with(ctx, a, func() ([]backends.FileInfo, error) { return a.fs.List(ctx, name, depth) })
}

func (a *acting) MakeDir(ctx context.Context, name string) error {
	return a.done(ctx, func() error { return a.fs.MakeDir(ctx, name) })
}

func (a *acting) Rename(ctx context.Context, oldName, newName string) error {
	return a.done(ctx, func() error { return a.fs.Rename(ctx, oldName, newName) })
}

func (a *acting) Copy(ctx context.Context, oldName, newName string) error {
	return a.done(ctx, func() error { return a.fs.Copy(ctx, oldName, newName) })
}

func (a *acting) Remove(ctx context.Context, name string) error {
	return a.done(ctx, func() error { return a.fs.Remove(ctx, name) })
}

func (a *acting) SetMetadata(ctx context.Context, name string, metadata map[string]string) error {
	return a.done(ctx, func() error { return a.fs.SetMetadata(ctx, name, metadata) })
}

func (a *acting) Export(ctx context.Context, name string, w io.Writer) error {
	return a.done(ctx, func() error { return a.fs.Export(ctx, name, w) })
}

func (a *acting) Import(ctx context.Context, name string, r io.Reader) error {
	return a.done(ctx, func() error { return a.fs.Import(ctx, name, r) })
}

func (a *acting) Walk(ctx context.Context, name string, opts *backends.WalkOptions, each func(*backends.TreeEntry) error) error {
	return a.done(ctx, func() error { return a.fs.Walk(ctx, name, opts, each) })
}

func (a *acting) Watch(ctx context.Context, name string, opts *backends.WatchOptions) (backends.Watch, error) {
	return with(ctx, a, func() (backends.Watch, error) { return a.fs.Watch(ctx, name, opts) })
}
