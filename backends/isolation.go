package backends

// Isolation says what keeps the code of an instance from the rest of the machine it runs on.
type Isolation string

// The kinds of isolation.
const (
	// IsolationNone is nothing but the user's own permissions.
	IsolationNone Isolation = "none"
	// IsolationFiles: code can write only to the instance's own folders and to allowed roots, can read only these and the system's
	// folders, so not the user's home, and can't signal or trace what is outside the instance.
	IsolationFiles Isolation = "files"
	// IsolationContainer: the instance is a container, with file system, processes, network and users of its own.
	IsolationContainer Isolation = "container"
)
