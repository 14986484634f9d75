package remote

import (
	"fmt"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

var _ backends.Machine = (*Instance)(nil)

// rootHome is root's home folder.
const rootHome = "/root"

// Home is the home folder of a user.
func (in *Instance) Home(user string) (string, error) {
	switch user {
	case backends.OrdinaryUser:
		return in.workspace, nil
	case backends.RootUser:
		return rootHome, nil
	}
	return "", fmt.Errorf("user %.40q: %w", user, backends.ErrNoUser)
}

// FilesOf is all files there, as a user has them. That there may be no such thing is said when they are used.
func (in *Instance) FilesOf(user string) (backends.FileSystem, error) {
	if _, err := in.Home(user); err != nil {
		return nil, err
	}
	return files{in, user, "/"}, nil
}
