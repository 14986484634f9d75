package guard

import (
	"bufio"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

func TestRulesHoldOnARealEngine(t *testing.T) {
	api := engine(t)
	world(t)
	g := open(t, api, testNetwork)
	begun := time.Now()
	require.NoError(t, g.Ready(t.Context()))
	t.Logf("ready after %v", time.Since(begun).Round(time.Millisecond))
	open := start(t, api, g, "1000", nil)

	t.Run("ControlReachesWhatRulesRefuse", func(t *testing.T) {
		b := *open
		b.t = t
		for _, at := range []string{siteAt, otherAt, privateAt, metadataAt, hostAt, b.gateway()} {
			b.reaches(at)
		}
	})
	t.Run("ControlHasThePowersThatPrepareTakes", func(t *testing.T) {
		made, err := api.ContainerCreate(t.Context(), &container.Config{
			Image: probeImage, Entrypoint: []string{"/probe"}, Cmd: []string{"sleep"}, User: "0",
		}, &container.HostConfig{NetworkMode: "none"}, nil, nil, "")
		require.NoError(t, err)
		defer g.remove(context.Background(), made.ID) //nolint:errcheck // a test's
		require.NoError(t, api.ContainerStart(t.Context(), made.ID, container.StartOptions{}))
		b := box{t, api, g, made.ID}
		powers := b.probe("powers")
		require.Contains(t, powers, "raw")
		require.Contains(t, powers, "port 53")
	})
	t.Run("BridgeIsTheInternetAlone", func(t *testing.T) {
		b := start(t, api, g, "1000", &backends.Network{Mode: backends.NetworkBridge, Deny: []string{otherAt}})
		b.reaches(siteAt)
		for _, at := range []string{otherAt, privateAt, metadataAt, hostAt, b.gateway(), open.address(), "172.17.0.1", "10.0.0.1"} {
			b.refuses(at)
		}
		require.Equal(t, "ok "+siteAt, b.probe("lookup", "site.example"))
		for _, name := range []string{"db.internal", "rebind.sub.example", "meta.sub.example", "host.sub.example", "nothing.example"} {
			require.Contains(t, b.probe("lookup", name), "no such host", name)
		}
		require.Contains(t, b.probe("udp", resolverAt+":53"), "error", "the upstream is the resolver's alone")
		require.Equal(t, "ok", b.probe("powers"))
	})
	t.Run("RootInsideChangesNothing", func(t *testing.T) {
		b := start(t, api, g, "0", &backends.Network{Mode: backends.NetworkBridge})
		require.Equal(t, "ok", b.probe("powers"))
		b.reaches(siteAt)
		b.refuses(b.gateway())
		b.refuses(privateAt)
	})
	t.Run("AllowReachesWhatItNames", func(t *testing.T) {
		b := start(t, api, g, "1000", &backends.Network{Mode: backends.NetworkAllow, Allow: []string{"203.0.113.8/29", "10.77.0.10"}, Deny: []string{siteAt}})
		b.reaches(siteAt)
		b.reaches(privateAt)
		for _, at := range []string{metadataAt, hostAt, b.gateway(), resolverAt, "198.51.100.1"} {
			b.refuses(at)
		}
		require.Contains(t, b.probe("lookup", "site.example"), "no such host")
	})
	t.Run("HostIsReachedWhereItsVeryAddressIsNamed", func(t *testing.T) {
		b := start(t, api, g, "1000", &backends.Network{Mode: backends.NetworkAllow, Allow: []string{hostAt}})
		b.reaches(hostAt)
		b.refuses(siteAt)
	})
	t.Run("DomainsAdmitWhatTheyLeadTo", func(t *testing.T) {
		b := start(t, api, g, "1000", &backends.Network{Mode: backends.NetworkAllow, Allow: []string{"site.example", "*.sub.example"}})
		b.refuses(siteAt)
		require.Equal(t, "ok "+siteAt, b.probe("lookup", "site.example"))
		b.reaches(siteAt)
		b.refuses(otherAt)
		require.Equal(t, "ok "+otherAt, b.probe("lookup", "a.sub.example"))
		b.reaches(otherAt)
		for name, at := range map[string]string{"rebind.sub.example": privateAt, "meta.sub.example": metadataAt, "host.sub.example": hostAt} {
			require.Contains(t, b.probe("lookup", name), "no such host", name)
			b.refuses(at)
		}
		require.Contains(t, b.probe("lookup", "unlisted.example.net"), "no such host")

		// What is still listed goes on, what is not ends.
		_, err := g.Change(t.Context(), b.id, backends.Network{Mode: backends.NetworkAllow, Allow: []string{"*.sub.example"}})
		require.NoError(t, err)
		b.reaches(otherAt)
		b.refuses(siteAt)
	})
	t.Run("ChangeCutsWhatIsNoLongerAdmitted", func(t *testing.T) {
		b := start(t, api, g, "1000", &backends.Network{Mode: backends.NetworkBridge})
		held, kept := bufio.NewReader(b.exec("hold", siteAt+":7777")), bufio.NewReader(b.exec("hold", otherAt+":7777"))
		for _, r := range []*bufio.Reader{held, kept} {
			line, err := r.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "connected\n", line)
		}
		begun := time.Now()
		cut, err := g.Change(t.Context(), b.id, backends.Network{Mode: backends.NetworkAllow, Allow: []string{otherAt}})
		require.NoError(t, err)
		require.Equal(t, 1, cut)
		line, err := held.ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, line, "connection abort")
		require.Less(t, time.Since(begun), 3*time.Second)
		t.Logf("cut after %v", time.Since(begun).Round(time.Millisecond))
		b.refuses(siteAt)
		b.reaches(otherAt)

		cut, err = g.Change(t.Context(), b.id, backends.Network{Mode: backends.NetworkNone})
		require.NoError(t, err)
		require.Equal(t, 1, cut)
		line, err = kept.ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, line, "connection abort")
		b.refuses(otherAt)

		_, err = g.Change(t.Context(), b.id, backends.Network{Mode: backends.NetworkAllow, Allow: []string{"nonsense"}})
		require.ErrorContains(t, err, `"nonsense"`)
	})
	t.Run("HelperThatDiedIsMadeAnewAndRulesHoldMeanwhile", func(t *testing.T) {
		n := backends.Network{Mode: backends.NetworkAllow, Allow: []string{siteAt}}
		b := start(t, api, g, "1000", &n)
		require.NoError(t, g.Remove(t.Context(), b.id))
		b.reaches(siteAt)
		b.refuses(otherAt)
		_, err := g.Change(t.Context(), b.id, n)
		require.ErrorIs(t, err, ErrNoHelper)
		n.Allow = []string{otherAt}
		require.NoError(t, g.Apply(t.Context(), b.id, n))
		b.reaches(otherAt)
		b.refuses(siteAt)
	})
	t.Run("HelpersAreSweptWithTheirSandboxes", func(t *testing.T) {
		b := start(t, api, g, "1000", &backends.Network{Mode: backends.NetworkBridge})
		c := start(t, api, g, "1000", &backends.Network{Mode: backends.NetworkBridge})
		require.NoError(t, g.remove(t.Context(), b.id))
		_, err := g.Sweep(t.Context())
		require.NoError(t, err)
		left, err := g.helpers(t.Context(), b.id)
		require.NoError(t, err)
		require.Empty(t, left)
		left, err = g.helpers(t.Context(), c.id)
		require.NoError(t, err)
		require.Len(t, left, 1)

		// Without anybody to sweep, a helper ends by itself.
		require.NoError(t, api.ContainerKill(t.Context(), c.id, "KILL"))
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		gone, failed := api.ContainerWait(ctx, left[0].ID, container.WaitConditionRemoved)
		select {
		case <-gone:
		case err := <-failed:
			require.ErrorContains(t, err, "No such container")
		}
	})
}

func TestHostIsOutOfReachByIPv6(t *testing.T) {
	api := engine(t)
	world(t)
	on := true
	name := testNetwork + "6"
	_, err := api.NetworkCreate(t.Context(), name, network.CreateOptions{
		Driver: "bridge", EnableIPv6: &on, Options: map[string]string{optionICC: "false"},
		IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: "fd00:77::/64"}}},
	})
	require.NoError(t, err)
	g := open(t, api, name)
	control := start(t, api, g, "1000", nil)
	const gateway = "fd00:77::1"
	control.reaches(gateway)
	b := start(t, api, g, "1000", &backends.Network{Mode: backends.NetworkBridge, Allow: []string{"fd00:77::/64"}})
	b.reaches(siteAt)
	b.refuses(gateway)
	info, err := api.ContainerInspect(t.Context(), control.id)
	require.NoError(t, err)
	b.refuses(info.NetworkSettings.Networks[name].GlobalIPv6Address)
	// The bridge's link-local address is the host, too.
	found, err := api.NetworkInspect(t.Context(), name, network.InspectOptions{})
	require.NoError(t, err)
	local := linkLocal(t, "br-"+found.ID[:12])
	at := "[" + local + "%eth0]:7777"
	require.Equal(t, "ok echo", control.probe("tcp", at))
	require.Contains(t, b.probe("tcp", at), "error")
	require.Contains(t, b.probe("udp", at), "error")
}

func TestNetworksThatAreNotForSandboxesAreRefused(t *testing.T) {
	api := engine(t)
	name := testNetwork + "-open"
	_, err := api.NetworkCreate(t.Context(), name, network.CreateOptions{Driver: "bridge"})
	require.NoError(t, err)
	defer api.NetworkRemove(context.Background(), name) //nolint:errcheck // a test's
	err = New(api, Options{Network: name}).Prepare(t.Context(), backends.Network{Mode: backends.NetworkBridge}, &container.HostConfig{})
	require.ErrorContains(t, err, "docker network rm "+name)
}

func TestPrepareRefusesWhatUndoesRules(t *testing.T) {
	g := New(nil, Options{})
	bridge := backends.Network{Mode: backends.NetworkBridge}
	require.ErrorIs(t, g.Prepare(t.Context(), bridge, &container.HostConfig{Runtime: "runsc"}), backends.ErrUnsupported)
	require.ErrorContains(t, g.Prepare(t.Context(), bridge, &container.HostConfig{Privileged: true}), "privileged")
	for _, name := range []string{"NET_RAW", "cap_net_admin", "ALL"} {
		err := g.Prepare(t.Context(), bridge, &container.HostConfig{CapAdd: []string{name}})
		require.ErrorContains(t, err, strings.TrimPrefix(strings.ToUpper(name), "CAP_"))
	}
	restarts := &container.HostConfig{RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyAlways}}
	require.ErrorContains(t, g.Prepare(t.Context(), bridge, restarts), "restart")
	host := &container.HostConfig{Runtime: "runsc"}
	require.NoError(t, g.Prepare(t.Context(), backends.Network{}, host))
	require.Equal(t, container.NetworkMode("none"), host.NetworkMode)
	require.NoError(t, g.Apply(t.Context(), "none has no helper", backends.Network{}))
}
