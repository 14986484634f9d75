package interpreter_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends/docker/dockertest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func TestLanguagesInAContainer(t *testing.T) {
	config := dockertest.Config(t)
	engine, err := sandbox.Open(context.Background(), sandbox.Config{
		DefaultBackend: "docker", AgentBinary: config.Agent, Image: config.Defaults.Image, NoForkServer: true, MaxSpares: sandbox.NoSpares,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Close(context.Background())) })
	if specs, err := engine.KernelSpecs(context.Background()); config.Defaults.Image != "" && err == nil && len(specs) == 1 {
		t.Skip("this image of somebody's has no other kernels than " + specs[0].Name)
	}
	s := serve(t, engine, nil)
	s.create(`{"language": "bash", "cwd": "/root"}`)
	var languages []string
	for _, c := range s.contexts() {
		languages = append(languages, c.Language)
	}
	require.Equal(t, []string{"python", "javascript", "bash"}, languages, "some stand from the start")
	in := func(language, code string) []frame {
		return s.run(map[string]any{"code": code, "language": language, "env_vars": map[string]string{"FOO": "bar"}})
	}
	require.Equal(t, "/home/user", text(t, s.code("import os; os.getcwd()")))
	require.Equal(t, "bar\n", in("bash", `echo "${FOO:-default}"`)[1]["text"])
	require.Equal(t, "default\n", s.run(map[string]any{"code": `echo "${FOO:-default}"`, "language": "sh"})[1]["text"])

	ctx, leave := context.WithCancel(context.Background())
	response, lines := s.start(ctx, map[string]any{"code": "globalThis.kept = 'kept'\nconsole.log('waits')\nawait new Promise(() => {})", "language": "js"})
	for {
		f, err := next(lines)
		require.NoError(t, err)
		if f.kind() == "stdout" {
			require.Equal(t, "waits\n", f["text"])
			break
		}
	}
	leave()
	_ = response.Body.Close()
	// It waits for the run before it. Nothing interrupts that; but the kernel may end it by itself.
	frames := in("javascript", "process.env.FOO + ' ' + globalThis.kept")
	if said, _ := frames[0]["text"].(string); strings.Contains(said, "its variables are lost") {
		require.Equal(t, "bar undefined", text(t, frames))
	} else {
		require.Equal(t, "bar kept", text(t, frames), "%v", frames)
	}
	require.Equal(t, "value", text(t, in("ts", "const v: string = 'value'; v")))
	if status, body := s.ask(http.MethodPost, "/contexts", `{"language": "r"}`); status != http.StatusOK {
		require.Contains(t, body, `kernel "r" not found; installed kernels: bash, deno, python3`)
	}
}
