package traffic

import (
	"encoding/json"
	"html/template"
	"net/http"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// refusal is the answer of the proxy itself, in the form that the SDKs look for.
type refusal struct {
	SandboxID string `json:"sandboxId"`
	Message   string `json:"message"`
	Port      int    `json:"port,omitempty"`
	Code      int    `json:"code"`
}

func notFound(w http.ResponseWriter, r *http.Request, target fleet.Target) {
	respond(w, r, refusal{SandboxID: target.ID, Message: "The sandbox was not found", Code: http.StatusBadGateway})
}

func notOpen(w http.ResponseWriter, r *http.Request, target fleet.Target) {
	respond(w, r, refusal{
		SandboxID: target.ID, Message: "The sandbox is running but port is not open", Port: target.Port, Code: http.StatusBadGateway,
	})
}

func forbidden(w http.ResponseWriter, r *http.Request, target fleet.Target) {
	message := "The traffic access token is wrong"
	if r.Header.Get(TokenHeader) == "" {
		message = "The traffic access token is missing: send it as " + TokenHeader
	}
	respond(w, r, refusal{SandboxID: target.ID, Message: message, Code: http.StatusForbidden})
}

// page is what a person sees.
var page = template.Must(template.New("refusal").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<title>{{.Message}}</title><style>body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem}</style>
<h1>{{.Message}}</h1><p>Sandbox <code>{{.SandboxID}}</code>{{with .Port}}, port <code>{{.}}</code>{{end}}</p></html>
`))

// respond answers a program in JSON, a browser with a page.
func respond(w http.ResponseWriter, r *http.Request, body refusal) {
	fullDuplex(w)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Access-Control-Allow-Origin", "*") // it tells nothing that the asker does not know
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		w.WriteHeader(body.Code)
		_ = page.Execute(w, body) // who does not read it has gone
		return
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(body.Code)
	_ = json.NewEncoder(w).Encode(body)
}
