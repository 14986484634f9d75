package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// fetch sends a plain request without a body, again when its connection breaks before the answer.
func (f files) fetch(ctx context.Context, path string, query url.Values) (*http.Response, *session, error) {
	return f.in.c.plain(ctx, func() (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodGet, addressOf(f.user)+path+"?"+query.Encode(), http.NoBody)
	})
}

// plain sends the request that is made for it, another one when its connection breaks before the answer.
func (c *Client) plain(ctx context.Context, request func() (*http.Request, error)) (*http.Response, *session, error) {
	begin := time.Now()
	for try := 1; ; try++ {
		if err := c.ready(ctx); err != nil {
			return nil, nil, err
		}
		s, err := c.current(ctx)
		if err != nil {
			return nil, nil, err
		}
		next, err := request()
		if err != nil {
			return nil, nil, err
		}
		answer, err := s.Do(next)
		switch {
		case err == nil:
			return answer, s, refusal(answer)
		case ctx.Err() != nil:
			return nil, nil, context.Cause(ctx)
		case !s.lostWithin(lossDelay):
			return nil, nil, fmt.Errorf("%w: %w", ErrProtocol, short2(err))
		}
		if err := c.again(ctx, try, begin); err != nil {
			return nil, nil, err
		}
	}
}

// refusal is the fault that an answer consists of; it closes such an answer.
func refusal(answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode == http.StatusNotFound {
		return fmt.Errorf("remote: %w: the agent in the sandbox is older than this program: make the sandbox again", backends.ErrUnsupported)
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, 2*agentpb.MaxFault))
	var fault agentpb.Fault
	if err != nil || answer.StatusCode != http.StatusConflict || proto.Unmarshal(data, &fault) != nil {
		return fmt.Errorf("remote: %w: status %d", ErrProtocol, answer.StatusCode)
	}
	return fault.Err()
}

// ended is what the end of an answer's body means: io.EOF when all has come.
func ended(answer *http.Response, s *session, err error) error {
	if !errors.Is(err, io.EOF) {
		if s.lostWithin(lossDelay) {
			return s.cut()
		}
		return fmt.Errorf("%w: %w", ErrProtocol, short2(err))
	}
	if text := answer.Trailer.Get(agentpb.FaultHeader); text != "" {
		fault, err := agentpb.DecodeFault(text)
		if err != nil {
			return fmt.Errorf("remote: %w: %w", ErrProtocol, err)
		}
		return fault.Err()
	}
	if answer.Trailer.Get(agentpb.EndHeader) == "" {
		return fmt.Errorf("remote: %w: an answer without an end", ErrProtocol)
	}
	return io.EOF
}

// Open opens a file for reading.
func (f files) Open(ctx context.Context, name string, opts *backends.OpenOptions) (io.ReadCloser, error) {
	if err := f.check(name); err != nil {
		return nil, err
	}
	query := url.Values{"path": {name}}
	left := int64(-1)
	if opts != nil {
		if opts.Offset < 0 || opts.Length < 0 {
			return nil, fmt.Errorf("%w: offset %d, length %d", fs.ErrInvalid, opts.Offset, opts.Length)
		}
		query.Set("offset", strconv.FormatInt(opts.Offset, 10))
		query.Set("length", strconv.FormatInt(opts.Length, 10))
		if opts.Length > 0 {
			left = opts.Length
		}
	}
	// The file lives longer than ctx may, which bounds the opening.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	answer, s, err := f.fetch(own, agentpb.ContentPath, query)
	if !stop() && err != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &content{answer: answer, session: s, cancel: cancel, left: left}, nil
}

// content is an open file.
type content struct {
	answer  *http.Response
	session *session
	cancel  context.CancelFunc
	left    int64 // that may come, bytes; -1 without bounds
	err     error
	once    sync.Once
}

func (c *content) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.answer.Body.Read(p)
	if c.left >= 0 {
		if int64(n) > c.left {
			c.err = fmt.Errorf("remote: %w: more of a file than was asked for", ErrProtocol)
			return 0, c.err
		}
		c.left -= int64(n)
	}
	if err != nil {
		c.err = ended(c.answer, c.session, err)
	}
	return n, c.err
}

// Close ends the reading. It is idempotent.
func (c *content) Close() error {
	c.once.Do(func() {
		c.cancel()
		_ = c.answer.Body.Close()
	})
	return nil
}

// upload is what is sent of a caller's reader.
type upload struct {
	r io.Reader

	mu     sync.Mutex // held while r is read; guards what follows
	err    error      // of r
	closed bool
	began  bool
}

func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return 0, fs.ErrClosed
	}
	u.began = true
	n, err := u.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		u.err = err
	}
	return n, err
}

// Close is called by the connection, when it likes.
func (u *upload) Close() error { return nil }

// uploadPatience is how long a caller's reader may hold up the answer to a request that is over.
const uploadPatience = time.Second

// finish makes sure that the caller's reader is not used any more, and tells what it said.
func (u *upload) finish() error {
	done := make(chan error, 1)
	go func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.closed = true
		done <- u.err
	}()
	timer := time.NewTimer(uploadPatience)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C: // it waits for something that has nothing to do with us
		return nil
	}
}

// send sends a plain request with a body, once.
func (f files) send(ctx context.Context, path string, query url.Values, r io.Reader) (*http.Response, error) {
	if err := f.in.c.ready(ctx); err != nil {
		return nil, err
	}
	s, err := f.in.c.current(ctx)
	if err != nil {
		return nil, err
	}
	// Its end is that of the stream, not a trailer: one that comes after the answer has ended the stream breaks all connection.
	body := &upload{r: r}
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	request, err := http.NewRequestWithContext(own, http.MethodPut, addressOf(f.user)+path+"?"+query.Encode(), body)
	if err != nil {
		return nil, err
	}
	answer, err := s.Do(request)
	if err == nil {
		if err = refusal(answer); err == nil {
			// What comes is empty; its end says that all was taken.
			if _, err = io.Copy(io.Discard, io.LimitReader(answer.Body, 1)); err == nil {
				err = ended(answer, s, io.EOF)
			}
			_ = answer.Body.Close()
		}
	} else if ctx.Err() == nil {
		if err = short2(err); s.lostWithin(lossDelay) {
			err = s.cut()
		}
	}
	cancel()
	if readErr := body.finish(); readErr != nil {
		return nil, readErr
	}
	switch {
	case errors.Is(err, io.EOF):
		return answer, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return nil, err
}

// Write stores all of r as a file.
func (f files) Write(ctx context.Context, name string, r io.Reader, opts *backends.WriteOptions) (int64, error) {
	if err := f.check(name); err != nil {
		return 0, err
	}
	query := url.Values{"path": {name}}
	if opts != nil {
		query.Set("mode", strconv.FormatInt(int64(opts.Mode.Perm()), 8))
		if len(opts.Metadata) > 0 {
			data, err := json.Marshal(opts.Metadata)
			if err != nil {
				return 0, err
			}
			if len(data) > agentpb.MaxHeaders/2 {
				return 0, fmt.Errorf("metadata of %d bytes: %w", len(data), fs.ErrInvalid)
			}
			query.Set("metadata", string(data))
		}
	}
	answer, err := f.send(ctx, agentpb.ContentPath, query, r)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(answer.Header.Get(agentpb.SizeHeader), 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("remote: %w: size of what was written", ErrProtocol)
	}
	return n, nil
}

// Export writes a folder's contents, or one file, to w as a tar stream.
func (f files) Export(ctx context.Context, name string, w io.Writer) error {
	if err := f.check(name); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answer, s, err := f.fetch(ctx, agentpb.TreePath, url.Values{"path": {name}})
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	buf := make([]byte, 256<<10)
	for {
		n, err := answer.Body.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err = ended(answer, s, err); errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
}

// Import makes what a tar stream holds in a folder.
func (f files) Import(ctx context.Context, name string, r io.Reader) error {
	if err := f.check(name); err != nil {
		return err
	}
	_, err := f.send(ctx, agentpb.TreePath, url.Values{"path": {name}}, r)
	return err
}
