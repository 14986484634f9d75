package sandbox

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// shelvesOf are the shelves of an engine on docker that nothing was made for yet.
func shelvesOf(least, most int) *spares {
	e := &Engine{config: Config{MinSpares: least, MaxSpares: most}, choice: Choice{Backend: "docker"}}
	return &spares{engine: e, shelves: []*shelf{{least: least}}}
}

// ask asks for sandboxes with an image, or for usual ones.
func (p *spares) ask(t *testing.T, image string, times int) {
	t.Helper()
	k, fits := p.kindOf(&Options{Container: backends.Container{Image: image}})
	require.True(t, fits)
	for range times {
		p.want(k)
	}
}

func TestEachKindGetsASpareBeforeAnyGetsTwo(t *testing.T) {
	p := shelvesOf(1, 4)
	require.Equal(t, []int{1}, p.wanted(), "always so many")
	p.ask(t, "", 3)
	require.Equal(t, []int{3}, p.wanted())
	p.ask(t, "a", 2)
	require.Equal(t, []int{2, 2}, p.wanted())
	p.ask(t, "b", 1)
	require.Equal(t, []int{1, 2, 1}, p.wanted())
	p.ask(t, "c", 1)
	p.ask(t, "d", 1)
	require.Equal(t, []int{1, 0, 1, 1, 1}, p.wanted(), "in all at most four: the kind asked for longest ago has none")
	require.Equal(t, []int{0}, shelvesOf(0, NoSpares).wanted())
}

func TestKindsAreBounded(t *testing.T) {
	p := shelvesOf(0, 100)
	for i := range 20 {
		p.ask(t, fmt.Sprint("image", i), 1)
		_, extra := p.next()
		require.Nil(t, extra)
		require.LessOrEqual(t, len(p.shelves), maxShelves)
	}
	k, _ := p.kindOf(&Options{Container: backends.Container{Image: "image19"}})
	require.NotNil(t, p.shelfOf(k))
	require.Empty(t, p.shelves[0].key, "the usual kind stays")
	for _, s := range p.shelves {
		s.asked = []time.Time{time.Now().Add(-2 * demandWindow)}
	}
	require.NotContains(t, p.wanted(), 1)
	p.next()
	require.Len(t, p.shelves, 1, "nobody has asked lately")
}

func TestKindsAreWhatCannotBeChangedAfterwards(t *testing.T) {
	p := shelvesOf(0, 4)
	kindOf := func(o Options) string {
		k, fits := p.kindOf(&o)
		require.True(t, fits)
		return k.key
	}
	of := func(c backends.Container) Options { return Options{Container: c} }
	usual := kindOf(Options{})
	require.Empty(t, usual)
	same := of(backends.Container{Profile: backends.ProfileHardened, Network: backends.Network{Mode: backends.NetworkNone}})
	same.Env, same.Metadata, same.TimeToLive = map[string]string{"A": "b"}, map[string]string{"c": "d"}, time.Hour
	require.Equal(t, usual, kindOf(same))
	open := kindOf(of(backends.Container{Network: backends.Network{Mode: backends.NetworkBridge}}))
	require.Equal(t, open, kindOf(of(backends.Container{
		Network: backends.Network{Mode: backends.NetworkAllow, Allow: []string{"pypi.org"}},
	})), "rules can be changed")
	seen := map[string]bool{usual: true, open: true}
	for _, o := range []Options{
		of(backends.Container{Image: "other"}), of(backends.Container{Profile: backends.ProfileCompatible}), of(backends.Container{Runtime: "runsc"}),
		of(backends.Container{Mounts: []backends.Mount{{Source: "/data", Target: "/data"}}}), of(backends.Container{GPUs: "all"}),
		{Limits: backends.Limits{Memory: 1 << 30}},
	} {
		key := kindOf(o)
		require.False(t, seen[key], key)
		seen[key] = true
	}
	for _, o := range []Options{
		{ID: "mine"},
		{Lazy: true},
		{Language: "r"},
		{TimeToLive: -1},
		{Env: map[string]string{"PYTHONPATH": "/x"}},
		of(backends.Container{Network: backends.Network{Allow: []string{"pypi.org"}, Mode: backends.NetworkNone}}),
	} {
		_, fits := p.kindOf(&o)
		require.False(t, fits, "%+v", o)
	}
	p.engine.choice.Backend = "local"
	_, fits := p.kindOf(&Options{Limits: backends.Limits{Memory: 1 << 30}})
	require.False(t, fits, "a fork does")
}
