package agent

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

func FuzzNamesAreToldAndMeant(f *testing.F) {
	for _, name := range []string{"", "a", "ä\uFFFDx", "caf\xe9.txt", "\xff\xfe", "\uFFFDe9", "\uFFFD", "\xef\xbf", "\uFFFDef\xbd", "\uFFFD7f"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		told := shown(name)
		require.True(t, utf8.ValidString(told))
		require.Equal(t, name, meant(told))
	})
}

func TestNamesThatAreNoUTF8AreTold(t *testing.T) {
	require.Equal(t, "caf\uFFFDe9.txt", shown("caf\xe9.txt"))
	require.Equal(t, "plain \uFFFD sign", shown("plain \uFFFD sign"))
}

func TestNamesOfWholeFiles(t *testing.T) {
	for name, want := range map[string]string{
		"": ".", "/": ".", "/..": ".", "../x": "x", "/home/user/a": "home/user/a", "a//b/../c": "a/c", "/a\uFFFDe9": "a\xe9",
	} {
		got, err := cleanWhole(name)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}
	for _, name := range []string{"a\x00", "\xff", strings.Repeat("n", 256), strings.Repeat("long/", 1000)} {
		_, err := cleanWhole(name)
		require.ErrorIs(t, err, backends.ErrInvalidName)
	}
}
