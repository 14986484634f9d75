package remote_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/agent/remote"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

func TestListingsThatLieAreFaults(t *testing.T) {
	const good = `{"n":"YQ==","t":"file","ns":1}` + "\n"
	for name, body := range map[string]string{
		"no JSON": "nonsense\n", "no type": `{"n":"YQ==","ns":1}` + "\n", "a size below nothing": `{"n":"YQ==","t":"file","s":-1}` + "\n",
		"no name": `{"t":"file"}` + "\n", "half a line": good[:10], "an endless line": strings.Repeat("x", 1<<20),
		"a hash cut short": `{"n":"YQ==","t":"file","h":"YQ=="}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			l := newLiar()
			l.plain = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set(http.TrailerPrefix+agentpb.EndHeader, "1")
				_, _ = fmt.Fprint(w, good, body)
			}
			told := 0
			err := l.open(t).Files().Walk(t.Context(), "d", nil, func(*backends.TreeEntry) error { told++; return nil })
			require.ErrorIs(t, err, remote.ErrProtocol)
			require.Equal(t, 1, told)
		})
	}
}

func TestAnEndlessListingTakesNoMemory(t *testing.T) {
	l := newLiar()
	l.plain = func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; ; i++ {
			if _, err := fmt.Fprint(w, `{"n":"YQ==","t":"file","ns":1}`+"\n"); err != nil {
				return
			}
		}
	}
	in, enough := l.open(t), errors.New("enough")
	told := 0
	require.ErrorIs(t, in.Files().Walk(t.Context(), "d", nil, func(*backends.TreeEntry) error {
		if told++; told == 100_000 {
			return enough
		}
		return nil
	}), enough)
}
