package server

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/ds-sandbox/ds-sandbox/server/bridge"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/control"
	"github.com/ds-sandbox/ds-sandbox/server/jupyter"
	"github.com/ds-sandbox/ds-sandbox/server/ui"
)

// description is what a test wants to know of openapi.yaml.
type description struct {
	Paths      map[string]map[string]yaml.Node      `yaml:"paths"`
	Components map[string]map[string]map[string]any `yaml:"components"`
}

// described are the routes of openapi.yaml, "METHOD /path".
func described(t *testing.T) []string {
	t.Helper()
	var d description
	require.NoError(t, yaml.Unmarshal(openAPI, &d))
	ids := make(map[string]bool)
	var routes []string
	for path, methods := range d.Paths {
		for method, node := range methods {
			if method == "parameters" {
				continue
			}
			var operation struct {
				ID        string         `yaml:"operationId"`
				Summary   string         `yaml:"summary"`
				Responses map[string]any `yaml:"responses"`
			}
			require.NoError(t, node.Decode(&operation))
			require.NotEmpty(t, operation.Summary, path)
			require.NotEmpty(t, operation.Responses, path)
			require.NotEmpty(t, operation.ID, path)
			require.False(t, ids[operation.ID], "two operations are %s", operation.ID)
			ids[operation.ID] = true
			routes = append(routes, strings.ToUpper(method)+" "+path)
		}
	}
	for _, ref := range regexp.MustCompile(`"#/components/([a-zA-Z]+)/([a-zA-Z]+)"`).FindAllStringSubmatch(string(openAPI), -1) {
		require.Contains(t, d.Components[ref[1]], ref[2])
	}
	slices.Sort(routes)
	return routes
}

// plain is a pattern of http.ServeMux as openapi.yaml writes it.
func plain(pattern string) string {
	return strings.NewReplacer("{$}", "", "...}", "}").Replace(pattern)
}

func TestDescriptionIsOfWhatIsServed(t *testing.T) {
	served := slices.Concat(Routes(), control.Routes(), bridge.New(bridge.Options{}).Routes(), jupyter.Routes(), ui.New().Routes())
	for i := range served {
		served[i] = plain(served[i])
	}
	slices.Sort(served)
	require.Equal(t, slices.Compact(served), described(t))
}
