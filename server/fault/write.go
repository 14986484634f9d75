package fault

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// Write answers with the fault in E2B's form, {"code": STATUS, "message": TEXT}. Other dialects have forms of their own.
func (f Fault) Write(w http.ResponseWriter) {
	h := w.Header()
	f.SetHeader(h)
	h.Set("Content-Type", "application/json")
	body, err := json.Marshal(struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{f.Status, f.Message})
	if err != nil { // there is nothing in it that can't be written
		body = []byte("{}")
	}
	w.WriteHeader(f.Status)
	_, _ = w.Write(append(body, '\n')) // who does not read it has gone
}

// SetHeader sets the headers that go with the fault in any form.
func (f Fault) SetHeader(h http.Header) {
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(f.RetryAfter))
	}
	h.Set("Cache-Control", "no-store")
}

// Write answers with what a client is told of an error, in E2B's form.
func Write(w http.ResponseWriter, err error) { Of(err).Write(w) }
