package control

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mark is where an entry stands in a list that is ordered by time.
type mark struct {
	time time.Time
	id   string
}

func (m mark) compare(other mark) int {
	return cmp.Or(m.time.Compare(other.time), strings.Compare(m.id, other.id))
}

// token is a mark for a client to come back with. It is of an entry, so that others may come and go meanwhile.
func (m mark) token() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(m.time.UnixNano(), 10) + " " + m.id))
}

func parseToken(token string) (mark, error) {
	data, err := base64.RawURLEncoding.DecodeString(token)
	at, id, ok := strings.Cut(string(data), " ")
	nanoseconds, numberErr := strconv.ParseInt(at, 10, 64)
	if err != nil || !ok || numberErr != nil {
		return mark{}, badf("nextToken: %.80q is none that was given out: begin without one", token)
	}
	return mark{time.Unix(0, nanoseconds), id}, nil
}

// page is what follows the entry that a token is of, up to limit entries, and the token of what follows these; "" when nothing does.
// The list is ordered by its marks.
func page[T any](list []T, limit int, token string, descending bool, markOf func(*T) mark) (part []T, next string, err error) {
	if token != "" {
		last, err := parseToken(token)
		if err != nil {
			return nil, "", err
		}
		begin := slices.IndexFunc(list, func(entry T) bool {
			order := markOf(&entry).compare(last)
			return order > 0 && !descending || order < 0 && descending
		})
		if begin < 0 {
			begin = len(list)
		}
		list = list[begin:]
	}
	if len(list) <= limit {
		return list, "", nil
	}
	return list[:limit], markOf(&list[limit-1]).token(), nil
}
