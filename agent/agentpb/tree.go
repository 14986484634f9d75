package agentpb

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// treeLine is a backends.TreeEntry as a line of JSON. Names are bytes, in base64: they need not be text.
type treeLine struct {
	Name   []byte            `json:"n"`
	Type   backends.FileType `json:"t"`
	Mode   uint32            `json:"m,omitempty"`
	Size   int64             `json:"s,omitempty"`
	Time   int64             `json:"ns"` // since 1970
	Target []byte            `json:"l,omitempty"`
	Hash   []byte            `json:"h,omitempty"`
}

// AppendTreeLine appends an entry as a line.
func AppendTreeLine(to []byte, e *backends.TreeEntry) ([]byte, error) {
	line, err := json.Marshal(&treeLine{
		Name: []byte(e.Name), Type: e.Type, Mode: uint32(e.Mode.Perm()), Size: e.Size, Time: e.ModTime.UnixNano(),
		Target: []byte(e.Target), Hash: e.Hash,
	})
	if err == nil && len(line) >= MaxLine {
		err = fmt.Errorf("%.200q: %w", e.Name, backends.ErrInvalidName)
	}
	return append(append(to, line...), '\n'), err
}

var errTreeLine = errors.New("not an entry of a tree")

// ParseTreeLine reads a line. What an entry's name may be is the caller's to say.
func ParseTreeLine(line []byte) (*backends.TreeEntry, error) {
	var l treeLine
	if err := json.Unmarshal(line, &l); err != nil {
		return nil, err
	}
	switch l.Type {
	case backends.TypeFile, backends.TypeDir, backends.TypeLink, backends.TypeOther:
	default:
		return nil, errTreeLine
	}
	if len(l.Name) == 0 || l.Size < 0 || l.Mode > 0o777 || len(l.Hash) != 0 && len(l.Hash) != 32 {
		return nil, errTreeLine
	}
	return &backends.TreeEntry{
		Name: string(l.Name), Type: l.Type, Mode: fs.FileMode(l.Mode), Size: l.Size, ModTime: time.Unix(0, l.Time),
		Target: string(l.Target), Hash: l.Hash,
	}, nil
}
