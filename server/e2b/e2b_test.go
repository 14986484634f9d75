package e2b

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/ds-sandbox/ds-sandbox/server/e2b/control"
)

func TestTheDescriptionHasEveryCall(t *testing.T) {
	data, err := os.ReadFile("../openapi.yaml")
	require.NoError(t, err)
	var d struct {
		Paths map[string]map[string]yaml.Node `yaml:"paths"`
	}
	require.NoError(t, yaml.Unmarshal(data, &d))
	for _, route := range control.Routes() {
		method, path, _ := strings.Cut(route, " ")
		require.Contains(t, d.Paths[path], strings.ToLower(method), route)
	}
}
