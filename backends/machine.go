package backends

import "errors"

// Machine is an Instance with users and a file system of its own, as a container has them. It is optional.
type Machine interface {
	// Home is the home folder of a user. Error: ErrNoUser.
	Home(user string) (string, error)
	// FilesOf is the whole file system as a user has it: what is made there is that user's. Names, and FileInfo.Path, are paths from
	// "/" on. Where code may become root by itself the ordinary user reaches what root does; elsewhere it has its own rights, and root
	// is refused with ErrUnsupported when the files are used. Error: ErrNoUser.
	FilesOf(user string) (FileSystem, error)
}

// The users of a Machine.
const (
	OrdinaryUser = "user" // the one that code has
	RootUser     = "root" // where code may become root
)

// ErrNoUser says that a machine has no user of a name.
var ErrNoUser = errors.New(`no such user: use "user" or "root"`)
