package control

import (
	"net/http"
	"slices"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// snapshotBody is a snapshot, whose id is taken where a template's is.
type snapshotBody struct {
	SnapshotID string   `json:"snapshotID"`
	Names      []string `json:"names"`
}

func newSnapshotBody(s *fleet.Snapshot) snapshotBody {
	body := snapshotBody{SnapshotID: s.ID, Names: s.Names}
	if body.Names == nil {
		body.Names = []string{}
	}
	return body
}

func (h *Handler) snapshot(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	var body struct {
		Name string `json:"name"`
	}
	m, err := h.member(r, owner)
	if err == nil {
		err = decode(w, r, &body)
	}
	if err != nil {
		return err
	}
	s, err := m.Snapshot(r.Context(), body.Name)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, newSnapshotBody(&s))
}

// listSnapshots has a page of snapshots, the newest first.
func (h *Handler) listSnapshots(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	q := r.URL.Query()
	limit, err := limitOf(q, maxPage)
	if err != nil {
		return err
	}
	id, _, _ := strings.Cut(q.Get("sandboxID"), "-")
	all := h.fleet.Snapshots(owner, id)
	if name := q.Get("name"); name != "" {
		all = slices.DeleteFunc(all, func(s fleet.Snapshot) bool { return !named(&s, owner, name) })
	}
	markOf := func(s *fleet.Snapshot) mark { return mark{s.CreatedAt, s.ID} }
	slices.SortFunc(all, func(a, b fleet.Snapshot) int { return markOf(&b).compare(markOf(&a)) })
	all, next, err := page(all, limit, q.Get("nextToken"), true, markOf)
	if err != nil {
		return err
	}
	if next != "" {
		w.Header().Set("X-Next-Token", next)
	}
	list := make([]snapshotBody, len(all))
	for i := range all {
		list[i] = newSnapshotBody(&all[i])
	}
	return answer(w, http.StatusOK, list)
}

// named reports whether a snapshot has a name, or id, that may be short of its owner and its tag.
func named(s *fleet.Snapshot, owner *fleet.Owner, name string) bool {
	return slices.ContainsFunc(append([]string{s.ID}, s.Names...), func(full string) bool {
		untagged, _, _ := strings.Cut(full, ":")
		short := owner.Name + "/"
		return name == full || name == untagged || short+name == full || short+name == untagged
	})
}
