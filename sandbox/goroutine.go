package sandbox

import (
	"bytes"
	"runtime"
	"strconv"
)

// goroutineID is the number of the calling goroutine. Go hides it for good reasons; it is used for one
// thing only: to tell a RunCode from inside a callback, which would wait for itself for ever, from one of another
// goroutine, which may wait its turn.
func goroutineID() uint64 {
	var buf [64]byte
	line := buf[:runtime.Stack(buf[:], false)]
	line = bytes.TrimPrefix(line, []byte("goroutine "))
	number, _, _ := bytes.Cut(line, []byte(" "))
	id, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil {
		return 0 // a format we don't know: no check rather than a wrong one
	}
	return id
}
