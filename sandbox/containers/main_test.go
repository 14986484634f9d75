package containers_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(leavingVariable); what != "" {
		play := map[string]func() error{"run": leave, "spares": leaveSpares}[what]
		fmt.Fprintln(os.Stderr, play())
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// testTimeout bounds each test's work with a container; nothing here comes near it.
const testTimeout = 3 * time.Minute

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}
