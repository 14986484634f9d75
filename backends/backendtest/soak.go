package backendtest

// Rounds is how often a test repeats what goes wrong once in many times: often in `make test-all`, else so often that a mistake
// shows within a few runs.
func Rounds(often, usual int) int {
	if All() {
		return often
	}
	return usual
}
