package envd

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Content codings.
const (
	codingGzip     = "gzip"
	codingIdentity = "identity"
)

// negotiate chooses the coding of an answer from the values of Accept-Encoding. ok is false when there is none that the client takes.
func negotiate(values []string) (coding string, ok bool) {
	weight := map[string]float64{}
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			name, parameters, _ := strings.Cut(item, ";")
			if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
				weight[name] = quality(parameters)
			}
		}
	}
	of := func(name string, otherwise float64) float64 {
		if q, told := weight[name]; told {
			return q
		}
		if q, told := weight["*"]; told {
			return q
		}
		return otherwise
	}
	switch {
	case of(codingGzip, 0) > 0 && of(codingGzip, 0) >= of(codingIdentity, 0):
		return codingGzip, true
	case of(codingIdentity, 1) > 0:
		return codingIdentity, true
	}
	return "", false
}

// quality reads the weight in the parameters of a coding; 1 without, 0 when it makes no sense.
func quality(parameters string) float64 {
	for item := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(item, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || !(q >= 0 && q <= 1) {
				return 0
			}
			return q
		}
	}
	return 1
}

// decode is a request's body without its coding.
func decode(r *http.Request) (io.Reader, error) {
	switch coding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); coding {
	case "", codingIdentity:
		return sent{r.Body}, nil
	case codingGzip:
		return &gunzip{from: sent{r.Body}}, nil
	default:
		return nil, refusef(http.StatusBadRequest, "content encoding %.40q: use gzip, or none", coding)
	}
}

// sent is what a client sends. That it breaks off is the client's doing.
type sent struct{ io.Reader }

func (s sent) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	var large *http.MaxBytesError
	if err != nil && !errors.Is(err, io.EOF) && !errors.As(err, &large) {
		err = &refusal{http.StatusBadRequest, fmt.Sprintf("body broke off: %v", err)}
	}
	return n, err
}

// gunzip reads what was compressed; what is no such thing is the client's mistake.
type gunzip struct {
	from io.Reader
	to   *gzip.Reader
}

func (g *gunzip) Read(p []byte) (int, error) {
	if g.to == nil {
		to, err := gzip.NewReader(g.from)
		if err != nil {
			return 0, g.mistake(err)
		}
		g.to = to
	}
	n, err := g.to.Read(p)
	return n, g.mistake(err)
}

func (g *gunzip) mistake(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*http.MaxBytesError)), errors.As(err, new(*refusal)):
		return err
	case err == io.EOF && g.to != nil: //nolint:errorlint // gzip says it just so, and another must not pass for it
		return io.EOF
	}
	return &refusal{http.StatusBadRequest, fmt.Sprintf("body is not what its content encoding says: %v", err)}
}
