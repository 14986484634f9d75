package agent

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
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
