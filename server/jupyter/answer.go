package jupyter

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/ds-sandbox/ds-sandbox/server/fault"
)

// dateLayout is the only one that jupyter_server's gateway client reads: UTC, exactly six digits of fraction, Z.
const dateLayout = "2006-01-02T15:04:05.000000Z"

func date(t time.Time) string { return t.UTC().Format(dateLayout) }

// writeJSON answers with a value.
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		writeFault(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that is gone reads nothing
}

// writeError answers as jupyter_server does.
func writeError(w http.ResponseWriter, status int, reason, message string) {
	writeJSON(w, status, struct {
		Message string `json:"message"`
		Reason  string `json:"reason"`
	}{message, reason})
}

// writeFault answers with an error.
func writeFault(w http.ResponseWriter, err error) {
	f := fault.Of(err)
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.RetryAfter))
	}
	writeError(w, f.Status, string(f.Code), f.Message)
}
