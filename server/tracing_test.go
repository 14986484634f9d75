package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

func TestTracesGoToTheConfiguredEndpoint(t *testing.T) {
	spans := make(chan string, 16)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil && r.URL.Path == "/v1/traces" {
			spans <- string(body)
		}
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	d := startDaemon(t, Config{Keys: []access.Key{{Secret: adas, Owner: &fleet.Owner{Name: "ada"}}}}, Dialects{Control: say("control")})
	const parent = "0af7651916cd43dd8448eb211c80319c"
	d.ask(t, http.MethodGet, "/v2/sandboxes?token="+adas, nil, "Traceparent", "00-"+parent+"-b7ad6b7169203331-01", requestHeader, "mine.1")
	m := d.member(t, &fleet.Owner{Name: "ada"})
	d.client.CloseIdleConnections()
	d.stop()
	require.NoError(t, <-d.ended) // which sends what there is
	d.ended <- nil
	close(spans)
	all := ""
	for body := range spans {
		all += body
	}
	for _, has := range []string{"GET control", "mine.1", "sandbox.create", m.ID(), "ds-sandbox"} {
		require.Contains(t, all, has)
	}
	id := make([]byte, 16)
	for i := range id { // the client's own trace goes on
		id[i] = unhex(parent[2*i])<<4 | unhex(parent[2*i+1])
	}
	require.Contains(t, all, string(id))
	require.NotContains(t, all, adas)
}

func unhex(c byte) byte { return byte(strings.IndexByte("0123456789abcdef", c)) }
