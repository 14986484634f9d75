package docker

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// needEngine connects to the engine. Without one, or without the image, the test is skipped, or fails when DS_SANDBOX_REQUIRE names docker.
func needEngine(t *testing.T) *engine {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	e, err := connect(ctx, "")
	if err == nil {
		t.Cleanup(func() { require.NoError(t, e.close()) })
		_, err = e.findImage(ctx, "")
	}
	if err != nil {
		if slices.Contains(strings.Split(os.Getenv("DS_SANDBOX_REQUIRE"), ","), "docker") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return e
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
