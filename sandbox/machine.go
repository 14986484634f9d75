package sandbox

import (
	"fmt"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// FilesOf is all of a container's files as a user has them, backends.OrdinaryUser or backends.RootUser: names are paths from "/" on, what
// is made is the user's, and "the workspace" in what is said of Files is all of it. In the profile compatible the ordinary user
// reaches all that root does, as its code can. Root is refused in the profile hardened, with backends.ErrUnsupported when the files are
// used. Errors: backends.ErrUnsupported where sandboxes are no containers, backends.ErrNoUser.
func (s *Sandbox) FilesOf(user string) (*Files, error) {
	machine, err := s.machine()
	if err != nil {
		return nil, fmt.Errorf("sandbox: files of user %.40q: %w", user, err)
	}
	files, err := machine.FilesOf(user)
	if err != nil {
		return nil, fmt.Errorf("sandbox: files of user: %w", err)
	}
	return &Files{sandbox: s, fs: files, whole: true}, nil
}

// Home is the home folder of a user of a container. Errors: as FilesOf.
func (s *Sandbox) Home(user string) (string, error) {
	machine, err := s.machine()
	if err != nil {
		return "", fmt.Errorf("sandbox: home of user %.40q: %w", user, err)
	}
	home, err := machine.Home(user)
	if err != nil {
		return "", fmt.Errorf("sandbox: home of user: %w", err)
	}
	return home, nil
}

func (s *Sandbox) machine() (backends.Machine, error) {
	machine, ok := s.instance.(backends.Machine)
	if !ok {
		return nil, fmt.Errorf("%w: a sandbox of the backend %s has no users and no files but its workspace; use docker",
			backends.ErrUnsupported, s.engine.choice.Backend)
	}
	return machine, nil
}
