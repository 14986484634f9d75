package control

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// maxPage is how many entries a page has at most, and when nothing is said.
const maxPage = 100

// filter is which sandboxes a list is to have.
type filter struct {
	metadata     map[string]string
	states       []fleet.State // all when empty
	startedAfter time.Time
	template     string // id; all when empty
}

func (f *filter) admits(info *fleet.Info) bool {
	for key, value := range f.metadata {
		if found, ok := info.Metadata[key]; !ok || found != value {
			return false
		}
	}
	return (len(f.states) == 0 || slices.Contains(f.states, info.State)) &&
		(f.template == "" || f.template == info.Template) && !info.StartedAt.Before(f.startedAfter)
}

// listV1 has the sandboxes that run, all at once.
func (h *Handler) listV1(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	metadata, err := parseMetadata(r.URL.Query().Get("metadata"))
	if err != nil {
		return err
	}
	infos := h.infos(owner, &filter{metadata: metadata, states: []fleet.State{fleet.Running}})
	slices.Reverse(infos)
	return answer(w, http.StatusOK, listed(infos))
}

// listV2 has a page of all sandboxes.
func (h *Handler) listV2(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	q := r.URL.Query()
	f, err := h.filter(q, owner)
	if err != nil {
		return err
	}
	descending, err := parseOrder(q.Get("order"))
	if err != nil {
		return err
	}
	limit, err := limitOf(q, maxPage)
	if err != nil {
		return err
	}
	infos := h.infos(owner, f)
	if descending {
		slices.Reverse(infos)
	}
	running := 0
	for i := range infos {
		if infos[i].State == fleet.Running {
			running++
		}
	}
	infos, next, err := page(infos, limit, q.Get("nextToken"), descending, func(i *fleet.Info) mark { return mark{i.StartedAt, i.ID} })
	if err != nil {
		return err
	}
	if len(f.states) == 0 || slices.Contains(f.states, fleet.Running) {
		w.Header().Set("X-Total-Running", strconv.Itoa(running))
	}
	if next != "" {
		w.Header().Set("X-Next-Token", next)
	}
	return answer(w, http.StatusOK, listed(infos))
}

// infos are the sandboxes that a filter admits, those that started first first.
func (h *Handler) infos(owner *fleet.Owner, f *filter) []fleet.Info {
	var infos []fleet.Info
	for _, m := range h.fleet.Members(owner) {
		if info := m.Info(); f.admits(&info) {
			infos = append(infos, info)
		}
	}
	slices.SortFunc(infos, func(a, b fleet.Info) int { // one may have been resumed since
		return cmp.Or(a.StartedAt.Compare(b.StartedAt), strings.Compare(a.ID, b.ID))
	})
	return infos
}

func listed(infos []fleet.Info) []listedBody {
	list := make([]listedBody, len(infos))
	for i := range infos {
		list[i] = newListedBody(&infos[i])
	}
	return list
}

func (h *Handler) filter(q url.Values, owner *fleet.Owner) (*filter, error) {
	f := new(filter)
	var err error
	if f.metadata, err = parseMetadata(q.Get("metadata")); err != nil {
		return nil, err
	}
	for state := range strings.SplitSeq(strings.Join(q["state"], ","), ",") {
		switch s := fleet.State(state); s {
		case "":
		case fleet.Running, fleet.Paused:
			f.states = append(f.states, s)
		default:
			return nil, badf("state: %.40q: use %s or %s", state, fleet.Running, fleet.Paused)
		}
	}
	if text := q.Get("startedAfter"); text != "" {
		if f.startedAfter, err = time.Parse(time.RFC3339, text); err != nil {
			return nil, badf("startedAfter: %.60q is no time: use RFC 3339, such as %s", text, time.Now().UTC().Format(time.RFC3339))
		}
	}
	if f.template = q.Get("template"); strings.Contains(f.template, ":") {
		return nil, badf("template: %.100q: use an id or a name without a tag", f.template)
	}
	if f.template != "" {
		if t, err := h.fleet.Template(owner, f.template); err == nil {
			f.template = t.ID
		}
	}
	return f, nil
}

// parseMetadata reads pairs as the SDKs write them: as a query, with keys and values that were escaped before.
func parseMetadata(text string) (map[string]string, error) {
	pairs, err := url.ParseQuery(text)
	if err != nil {
		return nil, badf("metadata: it is not written as a query: %v", err)
	}
	metadata := make(map[string]string, len(pairs))
	for key, values := range pairs {
		name, err := url.PathUnescape(key)
		if err != nil {
			return nil, badf("metadata: %v", err)
		}
		if metadata[name], err = url.PathUnescape(values[0]); err != nil {
			return nil, badf("metadata: %v", err)
		}
	}
	return metadata, nil
}

func parseOrder(text string) (descending bool, err error) {
	switch text {
	case "", "desc":
		return true, nil
	case "asc":
		return false, nil
	}
	return false, badf("order: %.20q: use asc or desc", text)
}
