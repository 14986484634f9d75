package report

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestANSI(t *testing.T) {
	for in, want := range map[string]string{
		"plain <b>":                            "plain &lt;b&gt;",
		"\x1b[31mred\x1b[0m off":               `<span class="c1">red</span> off`,
		"\x1b[1;94mx\x1b[22my\x1b[39mz":        `<span class="c12 bold">x</span><span class="c12">y</span>z`,
		"\x1b[41mx\x1b[49my":                   `<span class="g1">x</span>y`,
		"\x1b[7;32mx\x1b[27my":                 `<span class="g2">x</span><span class="c2">y</span>`,
		"\x1b[7mx":                             `<span class="inverse">x</span>`,
		"\x1b[38;5;196mx":                      `<span class="f" style="--f:#ff0000">x</span>`,
		"\x1b[38;5;3mx":                        `<span class="c3">x</span>`,
		"\x1b[38;5;255mx":                      `<span class="f" style="--f:#eeeeee">x</span>`,
		"\x1b[48;2;1;2;300mx":                  `<span class="b" style="--b:#0102ff">x</span>`,
		"\x1b[38;2mx":                          `<span class="f" style="--f:#000000">x</span>`,
		"\x1b[38mx":                            "x",
		"\x1b[mx":                              "x",
		"\x1b[31\x1b[0mx":                      "x",
		"\x1b[2K\x1b[1Ax":                      "x",
		"\x1b]8;;http://x\x1b\\link\x1b]8;;\a": "link",
		"\x1b]0;never ends":                    "",
		"\x1b":                                 "",
		"\x1b[":                                "",
		"\x1b[3":                               "",
		"\x1b(Bx":                              "Bx",
		"0%\r50%\r100%\n":                      "100%\n",
		"\x1b[31mbad\rgood\n":                  "<span class=\"c1\">good</span>\n",
		"dos\r\nlines\r\n":                     "dos\nlines\n",
		"a\x00\x07\x08b":                       "ab",
		"\xff":                                 "\uFFFD",
	} {
		require.Equal(t, want, ansiHTML(in), "%q", in)
	}
}

func FuzzANSI(f *testing.F) {
	for _, seed := range []string{"\x1b[31mred\x1b[0m", "\x1b[38;2;1;2;3m<", "\x1b]8;;x\a\"'>", "a\rb\x1b[1m\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		out := ansiHTML(in)
		for _, part := range strings.Split(out, "<")[1:] {
			require.True(t, strings.HasPrefix(part, "span") || strings.HasPrefix(part, "/span>"), out)
		}
		require.Equal(t, strings.Count(out, "<span"), strings.Count(out, "</span>"))
	})
}
