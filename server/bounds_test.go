package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shortPiece is how long clients of these tests may take for a piece.
const shortPiece = 50 * time.Millisecond

func TestClientsThatDoNotReadOrSendAreCutOff(t *testing.T) {
	errs := make(chan error, 1)
	d := startDaemon(t, Config{pieceTime: shortPiece}, Dialects{Control: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, err := io.ReadAll(r.Body)
			errs <- err
			return
		}
		var err error
		for err == nil {
			_, err = w.Write(make([]byte, pieceSize+1))
		}
		errs <- err
	})})
	for _, request := range []string{
		"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n",                          // and nothing is read
		"POST /drip HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123", // and no more is sent
	} {
		conn, err := net.Dial("tcp", d.Addr().String())
		require.NoError(t, err)
		_, err = io.WriteString(conn, request)
		require.NoError(t, err)
		select {
		case err := <-errs:
			require.True(t, errors.Is(err, os.ErrDeadlineExceeded), "%q: %v", request, err)
		case <-time.After(testTimeout):
			t.Fatalf("%q holds a handler for ever", request)
		}
		require.NoError(t, conn.Close())
	}
}

func TestBodiesThatNobodyReadsHoldNoConnection(t *testing.T) {
	d := startDaemon(t, Config{pieceTime: shortPiece}, Dialects{Control: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/duplex":
			require.NoError(t, http.NewResponseController(w).EnableFullDuplex())
		case "/flush":
			require.NoError(t, http.NewResponseController(w).Flush())
		}
		_, _ = io.WriteString(w, "no")
	})})
	for _, path := range []string{"/plain", "/duplex", "/flush"} {
		conn, err := net.Dial("tcp", d.Addr().String())
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(testTimeout)))
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123", path)
		require.NoError(t, err)
		answer, err := io.ReadAll(conn) // the daemon closes it
		require.NoError(t, err, path)
		require.Contains(t, string(answer), "200 OK", path)
		require.NoError(t, conn.Close())
	}
}

func TestCodeThatTakesItsTimeIsNoSlowClient(t *testing.T) {
	d := startDaemon(t, Config{pieceTime: shortPiece}, Dialects{Control: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		long := time.NewTimer(3 * shortPiece)
		defer long.Stop()
		select {
		case <-long.C:
		case <-r.Context().Done():
			return // it was taken for gone
		}
		switch r.URL.Path {
		case "/flush":
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			long.Reset(3 * shortPiece)
			<-long.C
		case "/headers":
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = io.WriteString(w, "all of it")
	})})
	conn, err := net.Dial("tcp", d.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	r := bufio.NewReader(conn)
	for _, path := range []string{"/plain", "/flush", "/headers", "/plain"} { // on one connection
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", path)
		require.NoError(t, err)
		response, err := http.ReadResponse(r, nil)
		require.NoError(t, err, path)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err, path)
		require.NoError(t, response.Body.Close())
		if path != "/headers" {
			require.Equal(t, "all of it", string(body), path)
		}
	}
}
