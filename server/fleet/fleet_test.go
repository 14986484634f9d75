package fleet

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func TestThousandCreatesAgainstALimitOfFiftyLeaveFifty(t *testing.T) {
	var refused atomic.Int64
	f := openFleet(t, Options{Observer: Observer{Refused: func(error) { refused.Add(1) }}})
	ctx, crowd := testContext(t), &Owner{Name: "crowd", Limits: Limits{Sandboxes: 50}}
	const creates = 1000
	members, errs := make([]*Member, creates), make([]error, creates)
	var wg sync.WaitGroup
	for i := range creates {
		wg.Go(func() { members[i], errs[i] = f.Create(ctx, crowd, &Spec{Lazy: true}) })
	}
	wg.Wait()
	made := 0
	for i := range creates {
		if errs[i] == nil {
			made++
			continue
		}
		var limit *LimitError
		require.ErrorAs(t, errs[i], &limit)
		require.Equal(t, QuotaSandboxes, limit.Quota)
		require.GreaterOrEqual(t, limit.Seconds(), 1)
		require.Contains(t, limit.Error(), "limit of live sandboxes reached (50): kill some")
	}
	require.Equal(t, 50, made)
	require.EqualValues(t, creates-50, refused.Load())
	require.Len(t, f.Members(crowd), 50)
	live, err := f.Engine().List(ctx)
	require.NoError(t, err)
	require.Len(t, live, 50)
	for _, m := range f.Members(crowd) {
		wg.Go(func() { require.NoError(t, m.Kill(ctx)) })
	}
	wg.Wait()
	create(t, f, crowd, Spec{}) // there is room again
}

func TestQuotasAreCountedByOwnerAndForTheDaemon(t *testing.T) {
	f := openFleet(t, Options{Sandboxes: 5, Streams: 2})
	ctx := testContext(t)
	quotaOf := func(owner *Owner, spec Spec) Quota {
		spec.Lazy = true
		_, err := f.Create(ctx, owner, &spec)
		var limit *LimitError
		require.ErrorAs(t, err, &limit)
		return limit.Quota
	}
	rich := &Owner{Name: "rich", Limits: Limits{Memory: 3 << 30}}
	create(t, f, rich, Spec{})                                             // counts as UnsizedMemory
	m := create(t, f, rich, Spec{Limits: sandbox.Limits{Memory: 2 << 30}}) // all that is left
	require.EqualValues(t, 2<<30, m.Info().Size.Memory)
	require.Equal(t, QuotaMemory, quotaOf(rich, Spec{}))
	require.NoError(t, m.Kill(ctx))
	create(t, f, rich, Spec{})

	hasty := &Owner{Name: "hasty", Limits: Limits{CreatesPerMinute: 2}}
	require.NoError(t, create(t, f, hasty, Spec{}).Kill(ctx))
	require.NoError(t, create(t, f, hasty, Spec{}).Kill(ctx))
	require.Equal(t, QuotaCreates, quotaOf(hasty, Spec{}))

	for range 3 {
		create(t, f, ada, Spec{})
	}
	require.Equal(t, QuotaDaemon, quotaOf(bob, Spec{}))

	first, err := f.Stream(ada)
	require.NoError(t, err)
	second, err := f.Stream(ada)
	require.NoError(t, err)
	_, err = f.Stream(ada)
	require.ErrorContains(t, err, "limit of requests at once reached (2): try again in 1 s")
	other, err := f.Stream(&Owner{Name: "bob", Limits: Limits{Streams: 1}})
	require.NoError(t, err)
	other()
	first()
	second()
}

func TestOwnersDoNotSeeEachOther(t *testing.T) {
	f := openFleet(t, Options{})
	ctx := testContext(t)
	m := create(t, f, ada, Spec{Metadata: map[string]string{"a": "b"}})
	got, err := f.Get(ada, m.ID())
	require.NoError(t, err)
	require.Same(t, m, got)
	_, err = f.Get(bob, m.ID())
	require.ErrorIs(t, err, ErrNotFound)
	require.Empty(t, f.Members(bob))
	require.Len(t, f.Members(nil), 1)
	_, err = m.Snapshot(ctx, "mine")
	require.NoError(t, err)
	require.Empty(t, f.Snapshots(bob, ""))
	require.ErrorIs(t, f.RemoveSnapshot(ctx, bob, "ada/mine:default"), ErrNoSnapshot)
	_, err = f.Create(ctx, bob, &Spec{Template: "ada/mine:default"})
	require.ErrorIs(t, err, ErrNoTemplate)

	require.NoError(t, m.Kill(ctx))
	var gone *GoneError
	_, err = f.Get(ada, m.ID())
	require.ErrorAs(t, err, &gone)
	require.ErrorIs(t, err, ErrNotFound)
	require.Equal(t, EndedKilled, gone.Reason)
	_, err = f.Get(bob, m.ID())
	require.False(t, errors.As(err, &gone), "whether it ever was is nobody else's business")
}

func TestMistakesInASpecAreNamedAndCostNothing(t *testing.T) {
	f := openFleet(t, Options{MaxTimeout: time.Hour})
	many := make(map[string]string)
	for i := range maxPairs + 1 {
		many[string(rune('a'+i%26))+time.Duration(i).String()] = ""
	}
	for name, test := range map[string]struct {
		spec Spec
		says string
	}{
		"timeout negative": {Spec{Timeout: -1}, "timeout: -1ns is negative"},
		"timeout too long": {Spec{Timeout: 2 * time.Hour}, "timeout: 2h0m0s is more than the 1h0m0s that this daemon allows"},
		"action":           {Spec{OnTimeout: "burn"}, `onTimeout: "burn" is not known: use kill or pause`},
		"metadata":         {Spec{Metadata: many}, "metadata: it has 1001 entries"},
		"limits":           {Spec{Limits: sandbox.Limits{Memory: -1}}, "limits: "},
		"variable":         {Spec{Env: map[string]string{"a b": ""}}, `environment variable "a b"`},
		"template":         {Spec{Template: "nonsense"}, `template "nonsense" was not found: use one of base, code-interpreter-v1`},
		"an image":         {Spec{Template: "debian:latest"}, "was not found"},
		"host":             {Spec{Network: &Network{MaskHost: string(make([]byte, 300))}}, "maskRequestHost: it is 300 bytes long"},
		"host of lines":    {Spec{Network: &Network{MaskHost: "a\r\nb"}}, `maskRequestHost: "a\r\nb" is no host`},
	} {
		test.spec.Lazy = true
		_, err := f.Create(testContext(t), ada, &test.spec)
		require.ErrorContains(t, err, test.says, name)
	}
	_, err := f.Create(testContext(t), ada, &Spec{Network: &Network{NoInternet: true}})
	require.ErrorIs(t, err, backends.ErrUnsupported, "on this machine nothing holds it")
	require.Zero(t, f.ledger.total)
}

func TestCreateOfAClientThatWentLeavesNothing(t *testing.T) {
	f := openFleet(t, Options{})
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	_, err := f.Create(ctx, ada, &Spec{Lazy: true})
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, f.Members(nil))
	require.Zero(t, f.ledger.total)
}

func TestCloseEndsAllAndRefusesMore(t *testing.T) {
	f := openFleet(t, Options{})
	ctx := testContext(t)
	members := []*Member{create(t, f, ada, Spec{}), create(t, f, bob, Spec{})}
	require.NoError(t, members[1].Pause(ctx))
	require.NoError(t, f.Close(ctx))
	for _, m := range members {
		<-m.Gone()
		require.ErrorIs(t, m.Kill(ctx), ErrNotFound)
	}
	_, err := f.Create(ctx, ada, &Spec{Lazy: true})
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, f.Close(ctx))
}

func TestTombstonesAreBounded(t *testing.T) {
	var stones tombstones
	id := func(i int) string { return time.Duration(i).String() }
	for i := range maxTombstones + 10 {
		stones.add(id(i), tombstone{owner: "ada"})
	}
	require.Len(t, stones.byID, maxTombstones)
	_, ok := stones.find(id(9))
	require.False(t, ok)
	_, ok = stones.find(id(10))
	require.True(t, ok)
}

func TestSecretsAreComparedWhole(t *testing.T) {
	token := newToken()
	require.Len(t, token, 40)
	require.True(t, SameSecret(token, token))
	require.False(t, SameSecret(token[:39], token))
	require.False(t, SameSecret("", ""), "no secret opens nothing")
}
