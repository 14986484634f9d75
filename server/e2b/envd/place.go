package envd

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// place is a sandbox as a user has it.
type place struct {
	member *fleet.Member
	files  *sandbox.Files
	user   string // of commands; empty where a sandbox has one user
	home   string
	whole  bool // all files can be reached, not only the workspace
}

// homeAlias is what clients take for the home of the ordinary user, also where it is a folder of another path.
const homeAlias = "/home/user"

// placeOf is a member's sandbox as a user has it. Errors: backends.ErrNoUser, backends.ErrUnsupported.
func placeOf(m *fleet.Member, user string) (*place, error) {
	s := m.Sandbox()
	home, err := s.Home(user)
	switch {
	case err == nil:
		files, err := s.FilesOf(user)
		if err != nil {
			return nil, err
		}
		return &place{member: m, files: files, user: user, home: home, whole: true}, nil
	case !errors.Is(err, backends.ErrUnsupported):
		return nil, err
	case user == backends.OrdinaryUser:
		return &place{member: m, files: s.Files(), home: s.Info().Workspace}, nil
	case user == backends.RootUser:
		return nil, fmt.Errorf("user root: %w: all that runs in this sandbox is of one user; use docker", backends.ErrUnsupported)
	}
	return nil, fmt.Errorf("user %.40q: %w", user, backends.ErrNoUser)
}

// location is a file or folder as a client has named it.
type location struct {
	path string // whole
	name string // for place.files
	base string // path of what names of files are relative to, in the client's words
}

// locate resolves a path (section 3.3): what does not begin with "/" begins at the user's home, as does what begins with "~".
func (p *place) locate(given string) (location, error) {
	full := given
	switch {
	case given == "~" || strings.HasPrefix(given, "~/"):
		full = p.home + given[1:]
	case !path.IsAbs(given):
		full = p.home + "/" + given
	}
	full = path.Clean(full)
	if p.whole {
		return location{path: full, name: full, base: "/"}, nil
	}
	for _, base := range []string{p.home, homeAlias} {
		if rest, ok := strings.CutPrefix(full, base); ok && (rest == "" || rest[0] == '/') {
			return location{path: full, name: strings.TrimPrefix(rest, "/"), base: base}, nil
		}
	}
	return location{}, fmt.Errorf("path %.200q: %w: it has no files but those of %s, which %s means too", given, sandbox.ErrOutside, p.home,
		homeAlias)
}

// pathOf is a path that a FileInfo has, in the words of the client.
func (l location) pathOf(info *sandbox.FileInfo) string { return path.Join(l.base, info.Path) }
