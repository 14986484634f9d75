package docker

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestOnlyTheDeadAreTakenForDead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ds-sandbox", "docker")
	one, err := holdIn(dir)
	require.NoError(t, err)
	two, err := holdIn(dir)
	require.NoError(t, err)
	require.Equal(t, one.place, two.place)
	require.False(t, one.dead(two.id), "it lives")
	require.False(t, one.dead(one.id))
	require.False(t, one.dead("../x"))
	require.NoError(t, two.file.Close()) // as the end of a program does
	require.True(t, one.dead(two.id))
	one.forget(two.id)
	require.NoFileExists(t, filepath.Join(dir, two.id))
	require.True(t, one.dead(uuid.NewString()), "it has closed")
	require.NoError(t, one.close())
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)

	require.NoError(t, os.Chmod(dir, 0o777))
	_, err = holdIn(dir)
	require.ErrorContains(t, err, "not a folder of yours alone")
}

func TestStrangersContainersAreLeftAlone(t *testing.T) {
	own, err := holdIn(filepath.Join(t.TempDir(), "a", "b"))
	require.NoError(t, err)
	defer func() { require.NoError(t, own.close()) }()
	b := &Backend{owner: own}
	old := time.Now().Add(-24 * time.Hour).Unix()
	of := func(owner, place, state string) container.Summary {
		return container.Summary{ID: "x", Created: old, State: state, Labels: map[string]string{labelOwner: owner, labelLock: place}}
	}
	dead := uuid.NewString()
	require.True(t, b.orphan(of(dead, own.place, "exited")))
	require.True(t, b.orphan(of(dead, own.place, "paused")), "it can't end by itself")
	require.False(t, b.orphan(of(dead, own.place, "running")), "another program may take it over, and it ends by itself")
	require.False(t, b.spareOfDead(t.Context(), of(dead, own.place, "running")), "it was never a spare")
	require.False(t, b.orphan(of(own.id, own.place, "exited")), "our own")
	require.False(t, b.orphan(of("", "", "exited")), "of nobody: somebody's own container of a snapshot")
	require.False(t, b.orphan(of(dead, "elsewhere", "running")), "its lock is elsewhere")
	require.True(t, b.orphan(of(dead, "elsewhere", "created")), "for a day")
}
