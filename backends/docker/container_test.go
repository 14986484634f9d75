package docker

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/system"
	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// offline is a backend of an engine that is only described.
func offline(info system.Info) *Backend {
	return &Backend{engine: &engine{info: info, endpoint: endpoint{Host: "unix:///nowhere"}}, owner: &owner{id: "o", place: "p"}}
}

var able = system.Info{
	MemoryLimit: true, SwapLimit: true, CPUCfsQuota: true, PidsLimit: true, NCPU: 2, CgroupVersion: "1",
	Runtimes: map[string]system.RuntimeWithStatus{"runc": {}, "runsc": {}},
}

func TestProfilesSayWhatCodeMayDo(t *testing.T) {
	for _, profile := range []backends.Profile{"", backends.ProfileHardened} {
		s, err := offline(able).settings(backends.Spec{Container: backends.Container{Profile: profile}}, new(image))
		require.NoError(t, err)
		require.Equal(t, []string{"ALL"}, []string(s.host.CapDrop))
		require.Equal(t, []string{"CAP_SETUID", "CAP_SETGID", "CAP_KILL"}, []string(s.host.CapAdd))
		require.Equal(t, []string{"no-new-privileges"}, s.host.SecurityOpt)
	}
	s, err := offline(able).settings(backends.Spec{Container: backends.Container{Profile: backends.ProfileCompatible}}, new(image))
	require.NoError(t, err)
	require.Equal(t, []string{"ALL"}, []string(s.host.CapDrop))
	for _, capability := range []string{"NET_RAW", "NET_ADMIN", "MKNOD", "SYS_CHROOT", "SETFCAP", "AUDIT_WRITE", "SYS_PTRACE", "SYS_ADMIN"} {
		require.NotContains(t, s.host.CapAdd, "CAP_"+capability)
	}
	require.Empty(t, s.host.SecurityOpt)
	require.False(t, s.host.Privileged)
	_, err = offline(able).settings(backends.Spec{Container: backends.Container{Profile: "soft"}}, new(image))
	require.ErrorContains(t, err, `"soft" is not known`)
}

func TestSystemCallsAreOurChoiceWhereTheEngineFilters(t *testing.T) {
	for options, ours := range map[string]bool{
		"": false, "name=apparmor": false, "name=seccomp,profile=default": true, "name=seccomp,profile=builtin": true,
		"name=seccomp,profile=unconfined": true, "name=seccomp,profile=/etc/own.json": false,
	} {
		info := able
		info.SecurityOptions = []string{"name=cgroupns", options}
		s, err := offline(info).settings(backends.Spec{}, new(image))
		require.NoError(t, err)
		require.Equal(t, ours, len(s.host.SecurityOpt) == 2, options)
	}
	var profile struct {
		Syscalls []struct{ Names []string }
	}
	require.NoError(t, json.Unmarshal([]byte(compactSeccomp()), &profile))
	for _, rule := range profile.Syscalls {
		require.NotContains(t, rule.Names, "socketcall")
		require.NotContains(t, rule.Names, "io_uring_setup")
	}
}

func TestEveryContainerIsShutIn(t *testing.T) {
	s, err := offline(able).settings(backends.Spec{ID: "x"}, &image{ID: "sha256:abc"})
	require.NoError(t, err)
	require.NoError(t, offline(able).prepare(t.Context(), backends.Network{}, new(image), s.host))
	require.Equal(t, container.NetworkMode("none"), s.host.NetworkMode)
	require.ErrorContains(t, offline(able).prepare(t.Context(), backends.Network{Deny: []string{"1.1.1.1"}}, new(image), s.host), "neither Allow nor Deny")
	require.ErrorContains(t, offline(able).prepare(t.Context(), backends.Network{Mode: "some"}, new(image), s.host), `"some" is not known`)
	require.Empty(t, s.host.PortBindings)
	require.False(t, s.host.PublishAllPorts)
	require.Equal(t, container.IpcMode("private"), s.host.IpcMode)
	require.Empty(t, s.host.PidMode)
	require.False(t, s.host.AutoRemove)
	require.EqualValues(t, mostProcesses, *s.host.PidsLimit, "a bound though there is no limit")
	require.Positive(t, s.host.OomScoreAdj)
	require.Equal(t, "sha256:abc", s.config.Image)
	require.Equal(t, []string{"NONE"}, s.config.Healthcheck.Test)
	require.Equal(t, "o", s.config.Labels[labelOwner])
	require.Equal(t, "x", s.config.Labels[labelID])
}

func TestLimitsOfTheEngineAndOfTheAgent(t *testing.T) {
	limits := backends.Limits{
		Memory: 1 << 30, CPUs: 1.5, Processes: 50, CPUTime: time.Hour, FileSize: 1 << 20, OpenFiles: 100, Disk: 1 << 30,
	}
	s, err := offline(able).settings(backends.Spec{Limits: limits}, new(image))
	require.NoError(t, err)
	require.Equal(t, map[backends.LimitName]backends.Enforcer{
		backends.LimitMemory: backends.ByCgroup1, backends.LimitCPUs: backends.ByCgroup1, backends.LimitProcesses: backends.ByCgroup1,
	}, s.by)
	require.EqualValues(t, 1<<30+spareMemory, s.host.Memory)
	require.Equal(t, s.host.Memory, s.host.MemorySwap, "no swap")
	require.EqualValues(t, 1.5e9, s.host.NanoCPUs)
	require.EqualValues(t, 50+spareProcesses, *s.host.PidsLimit)

	v2 := able
	v2.CgroupVersion = "2"
	s, err = offline(v2).settings(backends.Spec{Limits: backends.Limits{CPUs: 64}}, new(image))
	require.NoError(t, err)
	require.Equal(t, backends.ByCgroup2, s.by[backends.LimitCPUs])
	require.EqualValues(t, 2e9, s.host.NanoCPUs, "as many as there are")
	for name, l := range map[string]backends.Limits{"memory": {Memory: 1}, "cpus": {CPUs: 1}, "processes": {Processes: 1}} {
		_, err = offline(system.Info{}).settings(backends.Spec{Limits: l}, new(image))
		require.ErrorIs(t, err, backends.ErrUnsupported)
		require.ErrorContains(t, err, "limit "+name)
	}
}

func TestRuntimesAndGPUsByName(t *testing.T) {
	s, err := offline(able).settings(backends.Spec{Container: backends.Container{Runtime: "runsc", GPUs: "device=0,2"}}, new(image))
	require.NoError(t, err)
	require.Equal(t, "runsc", s.host.Runtime)
	require.Equal(t, []string{"0", "2"}, s.host.DeviceRequests[0].DeviceIDs)
	_, err = offline(able).settings(backends.Spec{Container: backends.Container{Runtime: "kata"}}, new(image))
	require.ErrorIs(t, err, backends.ErrUnsupported)
	require.ErrorContains(t, err, "runc, runsc")
	for text, count := range map[string]int{"all": -1, "2": 2} {
		requests, err := gpus(text)
		require.NoError(t, err)
		require.Equal(t, count, requests[0].Count)
	}
	for _, text := range []string{"some", "0", "-1", "device="} {
		_, err := gpus(text)
		require.ErrorContains(t, err, "use all, a count", text)
	}
}

func TestAContainersEndIsTold(t *testing.T) {
	limits := backends.Limits{Memory: 100}
	wrong, paused := judge(&container.State{Status: "running", Running: true}, limits)
	require.Nil(t, wrong)
	require.False(t, paused)
	_, paused = judge(&container.State{Status: "paused", Running: true, Paused: true}, limits)
	require.True(t, paused)
	wrong, _ = judge(&container.State{Status: "created"}, limits)
	require.Nil(t, wrong)
	wrong, _ = judge(&container.State{Status: "exited", OOMKilled: true, ExitCode: 137}, limits)
	require.Equal(t, backends.LimitMemory, wrong.limit.Limit)
	require.EqualValues(t, 100, wrong.limit.Allowed)
	for code, says := range map[int]string{137: "killed from outside", 143: "stopped from outside", 1: "exit code 1"} {
		wrong, _ = judge(&container.State{Status: "exited", ExitCode: code}, limits)
		require.ErrorIs(t, wrong.err, backends.ErrDestroyed)
		require.ErrorContains(t, wrong.err, says)
	}
}
