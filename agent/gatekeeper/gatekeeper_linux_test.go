package gatekeeper

import (
	"bytes"
	"encoding/json"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ds-sandbox/ds-sandbox/agent/netrules"
)

// What rules do is tested in package firewall, and all together on an engine in package guard: goroutines don't stay in the network
// namespace of a thread, so here nothing is ever applied.

func TestWhatHindersIsToldToWhoComes(t *testing.T) {
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("network namespaces can't be made here (%v): run as root", err)
	}
	socket := filepath.Join(t.TempDir(), "gate")
	type answer struct {
		text string
		err  error
	}
	told := make(chan answer, 1)
	go func() {
		var out bytes.Buffer
		err := Replace(t.Context(), socket, strings.NewReader(`{"version": 0}`), &out)
		told <- answer{out.String(), err}
	}()
	// Loopback is down in a new namespace, and so the resolver's address can be taken but by a program before it.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	require.NoError(t, err)
	defer unix.Close(fd) //nolint:errcheck // a test's
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Port: 53, Addr: [4]byte{127, 0, 0, 1}}))
	require.ErrorContains(t, Run(t.Context(), socket), "make the sandbox anew")
	got := <-told
	require.NoError(t, got.err)
	var result Result
	require.NoError(t, json.Unmarshal([]byte(got.text), &result))
	require.Contains(t, result.Error, "make the sandbox anew")
}

func TestRequestsAreAnsweredOrRefused(t *testing.T) {
	for request, want := range map[string]string{
		"":                                  "EOF",
		"{":                                 "unexpected EOF",
		`{"admitted": [1]}`:                 "json",
		`{"admitted": ["1.2.3.4-1.2.3.3"]}`: "in order",
		`{"version": 1}`:                    "",
		`{"version": 1, "upstreams": ["10.0.0.1"]}`: "ip:port",
	} {
		here, there := net.Pipe()
		go func() {
			here.Write([]byte(request)) //nolint:errcheck // the reader may have had enough
			if strings.HasSuffix(want, "EOF") {
				here.Close() //nolint:errcheck // as a client that goes away
			}
		}()
		applied := false
		if want == "" {
			go func() {
				serve(there, func(netrules.Rules) (int, error) { applied = true; return 3, nil })
			}()
			var result Result
			require.NoError(t, json.NewDecoder(here).Decode(&result))
			require.Equal(t, Result{Cut: 3}, result)
			require.True(t, applied)
			continue
		}
		answer := make(chan Result, 1)
		if !strings.HasSuffix(want, "EOF") {
			go func() {
				var result Result
				json.NewDecoder(here).Decode(&result) //nolint:errcheck // an empty result fails below
				answer <- result
			}()
		}
		serve(there, func(netrules.Rules) (int, error) { t.Error("applied ", request); return 0, nil })
		if !strings.HasSuffix(want, "EOF") {
			require.Contains(t, (<-answer).Error, want)
		}
	}
}
