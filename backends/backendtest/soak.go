package backendtest

import "os"

// Thorough reports whether the tests run that take long: `make test-all`.
func Thorough() bool { return os.Getenv("DS_SANDBOX_TEST_ALL") != "" }

// Rounds is how often a test repeats what goes wrong once in many times: often in `make test-all`, else so often that a mistake
// shows within a few runs.
func Rounds(often, usual int) int {
	if Thorough() {
		return often
	}
	return usual
}
