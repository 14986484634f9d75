package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ds-sandbox/ds-sandbox/server/fault"
)

// maxBody bounds a request, bytes.
const maxBody = 1 << 20

// statuses are those of what this package refuses itself.
var statuses = map[fault.Code]int{
	fault.InvalidArgument: http.StatusBadRequest,
	fault.NotFound:        http.StatusNotFound,
	fault.Unsupported:     http.StatusNotImplemented,
}

func refusef(code fault.Code, format string, args ...any) error {
	return &refusal{fault.Fault{Status: statuses[code], Code: code, Message: fmt.Sprintf(format, args...)}}
}

func badf(format string, args ...any) error { return refusef(fault.InvalidArgument, format, args...) }

// decode reads a body into v. There need be none, and members that are not known are nothing to us.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return err
		}
		return badf("the body did not come whole: %v", err)
	}
	if data = bytes.TrimSpace(data); len(data) == 0 {
		return nil
	}
	err = json.Unmarshal(data, v)
	var mistyped *json.UnmarshalTypeError
	switch {
	case errors.As(err, &mistyped) && mistyped.Field != "":
		return badf("%s: it is a %s, and is to be %s", mistyped.Field, mistyped.Value, article(mistyped.Type.String()))
	case mistyped != nil:
		return badf("the body is to be an object, and can't be a JSON %s", mistyped.Value)
	case err != nil:
		return badf("the body is not what this call takes as JSON: %v", err)
	}
	return nil
}

// article names a type of ours as JSON has it.
func article(goType string) string {
	switch goType {
	case "string":
		return "a string"
	case "bool":
		return "true or false"
	case "int64", "int":
		return "a whole number"
	}
	return "of another type"
}

// maxSeconds is more than any time that a fleet allows, and few enough to be counted in nanoseconds.
const maxSeconds = 10 * 365 * 24 * 3600

// duration is a time of a body in seconds; given is nil when it was left out.
func duration(field string, given *int64, absent time.Duration) (time.Duration, error) {
	switch {
	case given == nil:
		return absent, nil
	case *given <= 0:
		return 0, badf("%s: %d seconds are none: use a positive number", field, *given)
	}
	return time.Duration(min(*given, maxSeconds)) * time.Second, nil
}

// limitOf is how many entries a page is to have.
func limitOf(q url.Values, most int) (int, error) {
	text := q.Get("limit")
	if text == "" {
		return most, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, badf("limit: %.20q: use 1 to %d", text, most)
	}
	return n, nil
}

// moment is a parameter that counts units since 1970; the zero time when it is absent.
func moment(q url.Values, name string, unit time.Duration) (time.Time, error) {
	text := q.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/int64(unit) {
		return time.Time{}, badf("%s: %.40q is no time", name, text)
	}
	return time.Unix(0, n*int64(unit)), nil
}
