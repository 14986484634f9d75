package docker

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
)

// maxDiagnosis bounds what is kept of a program's error output, bytes.
const maxDiagnosis = 4 << 10

// execTime bounds the start of an exec, which an engine answers in some 50 ms.
const execTime = 30 * time.Second

// dialExec starts a program in a container and returns a connection to its input and output. Closing it ends the input only: the
// program is to end by that. ctx bounds the start.
func (e *engine) dialExec(ctx context.Context, id string, args ...string) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, execTime, fmt.Errorf("the engine started no program within %v", execTime))
	defer cancel()
	created, err := e.api.ContainerExecCreate(ctx, id, container.ExecOptions{
		User: "0:0", Cmd: args, AttachStdin: true, AttachStdout: true, AttachStderr: true, WorkingDir: "/",
	})
	if err != nil {
		return nil, orCause(ctx, err)
	}
	type attached struct {
		conn *execConn
		err  error
	}
	// The client waits for the answer without looking at ctx, and an engine under pressure may never give it.
	result := make(chan attached, 1)
	go func() {
		hijacked, err := e.api.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{})
		if err != nil {
			result <- attached{err: err}
			return
		}
		result <- attached{conn: &execConn{Conn: hijacked.Conn, r: bufio.NewReaderSize(hijacked.Reader, 64<<10)}}
	}()
	select {
	case a := <-result:
		if a.err != nil {
			return nil, orCause(ctx, a.err)
		}
		return a.conn, nil
	case <-ctx.Done():
		go func() {
			if a := <-result; a.conn != nil {
				_ = a.conn.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

func orCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// execConn is an exec's stream: what is written goes to the program's input, what is read is its output. The engine cuts the
// output into frames, which say whether they are of the error output.
type execConn struct {
	net.Conn

	reading sync.Mutex // held by a Read; guards what follows but said
	r       *bufio.Reader
	header  [8]byte
	have    int    // of the header
	left    uint32 // of the frame
	stderr  bool   // the frame is of the error output
	bridge  bool   // the program speaks HTTP/2; what begins with a letter is the engine saying why it did not start
	begun   bool   // something was read
	refused bool   // that was the engine

	mu   sync.Mutex // guards said
	said []byte
}

// Read reads the program's output. A deadline may cut it anywhere: the next Read goes on there.
func (c *execConn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for {
		for c.left == 0 {
			if err := c.next(); err != nil {
				return 0, c.ended(err)
			}
		}
		if c.bridge && !c.stderr && !c.begun {
			first, err := c.r.Peek(1)
			if err != nil {
				return 0, c.ended(err)
			}
			c.begun, c.refused = true, first[0] >= ' '
		}
		if c.stderr || c.refused {
			if err := c.keep(); err != nil {
				return 0, c.ended(err)
			}
			continue
		}
		if len(p) == 0 {
			return 0, nil
		}
		n, err := c.r.Read(p[:min(len(p), int(c.left))])
		c.left -= uint32(n)
		if n > 0 {
			return n, nil
		}
		if err != nil {
			return 0, c.ended(err)
		}
	}
}

// next reads a frame's header.
func (c *execConn) next() error {
	for c.have < len(c.header) {
		n, err := c.r.Read(c.header[c.have:])
		c.have += n
		if err != nil && c.have < len(c.header) {
			return err
		}
	}
	c.have = 0
	c.stderr = c.header[0] != 1
	c.left = binary.BigEndian.Uint32(c.header[4:])
	return nil
}

// keep takes what the error output says.
func (c *execConn) keep() error {
	var text [512]byte
	n, err := c.r.Read(text[:min(len(text), int(c.left))])
	c.left -= uint32(n)
	c.mu.Lock()
	c.said = append(c.said, text[:min(n, maxDiagnosis-len(c.said))]...)
	c.mu.Unlock()
	return err
}

// ended is an error with what the program had to say about it.
func (c *execConn) ended(err error) error {
	if err != io.EOF { //nolint:errorlint // a reader's own
		return err
	}
	if said := c.diagnosis(); said != "" {
		return fmt.Errorf("%w: %s", io.ErrUnexpectedEOF, said)
	}
	return err
}

func (c *execConn) diagnosis() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.TrimSpace(string(c.said))
}

// CloseWrite ends the program's input.
func (c *execConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
