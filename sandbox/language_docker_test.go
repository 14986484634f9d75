package sandbox_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/dockertest"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func TestLanguagesOfTheImage(t *testing.T) {
	ctx := testContext(t)
	engine, err := sandbox.Open(ctx, sandbox.Config{
		DefaultBackend: "docker", AgentBinary: dockertest.Config(t).Agent, NoForkServer: true, MaxSpares: sandbox.NoSpares,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Close(context.Background())) })
	sbx, err := engine.Create(ctx, &sandbox.Options{Lazy: true, Env: map[string]string{"OUTER": "o"}})
	require.NoError(t, err)
	specs, err := engine.KernelSpecs(ctx)
	require.NoError(t, err)
	have := func(name string) bool {
		return slices.ContainsFunc(specs, func(s messaging.KernelSpec) bool { return s.Name == name })
	}
	contextOf := func(language string) *sandbox.Context {
		c, err := sbx.LanguageContext(ctx, language)
		require.NoError(t, err)
		return c
	}
	for _, name := range []string{"python3", "bash", "deno"} {
		require.True(t, have(name), "the image has %s", name)
	}

	js := contextOf("js")
	checkJavaScript(t, ctx, js)
	run, err := js.RunCode(ctx, "process.cwd()", nil)
	require.NoError(t, err)
	require.Equal(t, `"/home/user"`, run.Text())

	bash := contextOf("sh")
	checkRunEnv(t, ctx, bash, func(name string) string { return "printf '%s\\n' \"${" + name + "-none}\"" })
	run, err = bash.RunCode(ctx, "pwd", nil)
	require.NoError(t, err)
	require.Equal(t, []string{"/home/user\n"}, run.Logs.Stdout)

	if !have("ir") { // which is there where the image was built with it
		_, err = sbx.LanguageContext(ctx, "R")
		missing := new(backends.SpecNotFoundError)
		require.ErrorAs(t, err, &missing)
		require.Contains(t, missing.Found, "deno")
		return
	}
	r := contextOf("R")
	run, err = r.RunCode(ctx, "print('a')\ngetwd()", nil)
	require.NoError(t, err)
	require.Equal(t, "[1] \"a\"\n", run.Stdout())
	require.Equal(t, `[1] "/home/user"`, run.Text())
	checkRunEnv(t, ctx, r, func(name string) string { return "cat(Sys.getenv('" + name + "', 'none'), '\\n', sep = '')" })
}
