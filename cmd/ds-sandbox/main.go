package main

import (
	"context"
	"os"
)

func main() {
	signals, stop := catchSignals()
	code := execute(context.Background(), os.Args[1:], standardStreams(signals))
	stop()
	os.Exit(code)
}
