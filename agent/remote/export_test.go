package remote

import (
	"context"
	"net"
	"net/http"

	"connectrpc.com/connect"
)

// RawClient is an HTTP client on one connection, which ends with ctx.
func RawClient(ctx context.Context, dial func(context.Context) (net.Conn, error)) connect.HTTPClient {
	conn, err := dial(ctx)
	if err != nil {
		return rawClient(func(*http.Request) (*http.Response, error) { return nil, err })
	}
	s, err := newSession(ctx, conn)
	if err != nil {
		return rawClient(func(*http.Request) (*http.Response, error) { return nil, err })
	}
	context.AfterFunc(ctx, func() { s.end(ErrClosed) })
	return rawClient(s.Do)
}

type rawClient func(*http.Request) (*http.Response, error)

func (c rawClient) Do(r *http.Request) (*http.Response, error) { return c(r) }
