package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func TestTerminalsAreKnownByName(t *testing.T) {
	for name, test := range map[string]struct {
		env     map[string]string
		want    protocol
		certain bool
	}{
		"none":          {nil, protocolNone, true},
		"dumb":          {map[string]string{"TERM": "dumb", "KITTY_WINDOW_ID": "1"}, protocolNone, true},
		"the console":   {map[string]string{"TERM": "linux"}, protocolNone, true},
		"kitty":         {map[string]string{"TERM": "xterm-kitty"}, protocolKitty, true},
		"ghostty":       {map[string]string{"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, protocolKitty, true},
		"iTerm2":        {map[string]string{"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, protocolITerm, true},
		"iTerm2 by ssh": {map[string]string{"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, protocolITerm, true},
		"WezTerm":       {map[string]string{"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, protocolITerm, true},
		"foot":          {map[string]string{"TERM": "foot-extra"}, protocolSixel, true},
		"xterm":         {map[string]string{"TERM": "xterm-256color"}, protocolNone, false},
		"tmux in kitty": {map[string]string{"TERM": "tmux-256color", "TMUX": "/x", "KITTY_WINDOW_ID": "1"}, protocolNone, false},
	} {
		got, certain := protocolByName(func(key string) string { return test.env[key] })
		require.Equal(t, test.want, got, name)
		require.Equal(t, test.certain, certain, name)
	}
}

func TestTerminalsAnswer(t *testing.T) {
	for answer, want := range map[string]struct {
		protocol
		done bool
	}{
		"":                                    {protocolNone, false},
		"\x1b[?62;4":                          {protocolNone, false},
		"\x1b[?62;4;22c":                      {protocolSixel, true},
		"\x1b[?64;14c":                        {protocolNone, true},
		"\x1b[?4c":                            {protocolNone, true}, // the first is what kind of terminal it is
		"\x1b_Gi=31;OK\x1b\\\x1b[?62;c":       {protocolKitty, true},
		"\x1b_Gi=31;EINVAL\x1b\\\x1b[?62;4c":  {protocolSixel, true},
		"typed\x1b[?65;1;4;9c and more typed": {protocolSixel, true},
	} {
		got, done := protocolOfAnswer(answer)
		require.Equal(t, want.done, done, "%q", answer)
		require.Equal(t, want.protocol, got, "%q", answer)
	}
}

// drawing is a picture with many colours, some of them see-through.
func drawing(w, h int) image.Image {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, color.NRGBA{uint8(x * 255 / w), uint8(y * 255 / h), uint8(x * y * 7919 >> 5 & 15), uint8(255 - 50*(x%2))})
		}
	}
	return m
}

func pngResult(t *testing.T, m image.Image) *sandbox.Result {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, m))
	return &sandbox.Result{PNG: base64.StdEncoding.EncodeToString(b.Bytes())}
}

func showIn(t *testing.T, mode string, r *sandbox.Result) string {
	t.Helper()
	p, err := newPictures(&streams{out: new(bytes.Buffer)}, mode)
	require.NoError(t, err)
	var b strings.Builder
	shown, err := p.show(&b, r)
	require.NoError(t, err)
	require.Equal(t, shown, b.Len() > 0)
	return b.String()
}

func TestKittyGetsAPNGInPieces(t *testing.T) {
	r := pngResult(t, drawing(200, 100))
	var text strings.Builder
	pieces := regexp.MustCompile(`\x1b_G([^;]*);([A-Za-z0-9+/=]*)\x1b\\`).FindAllStringSubmatch(showIn(t, "kitty", r), -1)
	require.Greater(t, len(pieces), 1)
	for i, piece := range pieces {
		require.Equal(t, i == 0, strings.HasPrefix(piece[1], "a=T,f=100,q=2"))
		require.Equal(t, i < len(pieces)-1, strings.HasSuffix(piece[1], "m=1"))
		require.LessOrEqual(t, len(piece[2]), 4096)
		text.WriteString(piece[2])
	}
	require.Equal(t, r.PNG, text.String())

	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, drawing(20, 10), nil))
	require.Contains(t, showIn(t, "kitty", &sandbox.Result{JPEG: base64.StdEncoding.EncodeToString(b.Bytes())}), ";iVBOR", "kitty takes PNG only")
}

func TestITermGetsTheFile(t *testing.T) {
	r := pngResult(t, drawing(20, 10))
	require.Regexp(t, `^\x1b]1337;File=inline=1;size=\d+:`+regexp.QuoteMeta(r.PNG)+"\a\n$", showIn(t, "iterm2", r))
}

func TestSixelsAreThePicture(t *testing.T) {
	plain := image.NewRGBA(image.Rect(0, 0, 7, 13))
	for y := range 13 {
		for x := range 7 {
			plain.Set(x, y, color.RGBA{uint8(255 * (x % 2)), uint8(255 * (y / 7)), 0, 255})
		}
	}
	got := decodeSixels(t, showIn(t, "sixel", pngResult(t, plain)))
	require.Equal(t, plain.Rect, got.Rect)
	require.Equal(t, plain.Pix, got.Pix)

	many := drawing(300, 200)
	got = decodeSixels(t, showIn(t, "sixel", pngResult(t, many)))
	white := flatten(many, 0)
	worst := 0
	for i := range got.Pix {
		worst = max(worst, int(got.Pix[i])-int(white.Pix[i]), int(white.Pix[i])-int(got.Pix[i]))
	}
	require.Less(t, worst, 100, "255 colours of a gradient")

	var b bytes.Buffer
	writeSixel(&b, many, 100)
	require.Equal(t, image.Rect(0, 0, 100, 66), decodeSixels(t, b.String()).Rect)
}

// decodeSixels is what a terminal does.
func decodeSixels(t *testing.T, text string) *image.RGBA {
	t.Helper()
	_, body, ok := strings.Cut(text, "\x1bP0;1q\"1;1;")
	require.True(t, ok)
	body, _, ok = strings.Cut(body, "\x1b\\")
	require.True(t, ok)
	var w, h int
	_, err := fmt.Sscanf(body, "%d;%d", &w, &h)
	require.NoError(t, err)
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	colours := map[int]color.RGBA{}
	current, x, top, count := 0, 0, 0, 1
	for _, token := range regexp.MustCompile(`#\d+;2;\d+;\d+;\d+|#\d+|!\d+|[$\-?-~]`).FindAllString(body[strings.IndexByte(body, '#'):], -1) {
		switch token[0] {
		case '#':
			var parts []int
			for _, field := range strings.Split(token[1:], ";") {
				n, err := strconv.Atoi(field)
				require.NoError(t, err)
				parts = append(parts, n)
			}
			current = parts[0]
			if len(parts) == 5 {
				colours[current] = color.RGBA{uint8(parts[2] * 255 / 100), uint8(parts[3] * 255 / 100), uint8(parts[4] * 255 / 100), 255}
			}
		case '!':
			count, err = strconv.Atoi(token[1:])
			require.NoError(t, err)
		case '$':
			x = 0
		case '-':
			x, top = 0, top+6
		default:
			for ; count > 0; count-- {
				for bit := range 6 {
					if (token[0]-'?')>>bit&1 == 1 {
						m.Set(x, top+bit, colours[current])
					}
				}
				x++
			}
			count = 1
		}
	}
	return m
}

func TestPicturesThatNoTerminalIsGiven(t *testing.T) {
	header := func(w, h uint32) string { // of a PNG that claims a size
		b := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
		b = append(b, byte(w>>24), byte(w>>16), byte(w>>8), byte(w), byte(h>>24), byte(h>>16), byte(h>>8), byte(h), 8, 2, 0, 0, 0)
		return base64.StdEncoding.EncodeToString(append(b, 0, 0, 0, 0))
	}
	for name, r := range map[string]*sandbox.Result{
		"no picture":    {Text: "x"},
		"a drawing":     {SVG: "<svg/>"},
		"no PNG":        {PNG: base64.StdEncoding.EncodeToString([]byte("\x1b]0;title\a"))},
		"no base64":     {PNG: "\x1b[2J"},
		"an enormous":   {PNG: header(1<<30, 1<<30)},
		"a broken-off":  {PNG: header(10, 10)},
		"a broken JPEG": {JPEG: tinyPNG[:20]},
	} {
		require.Empty(t, showIn(t, "sixel", r), name)
	}
	require.Empty(t, showIn(t, "never", pngResult(t, drawing(2, 2))))
	require.Empty(t, showIn(t, "auto", pngResult(t, drawing(2, 2))), "no terminal")
	require.NotEmpty(t, showIn(t, "always", pngResult(t, drawing(2, 2))))
}

func TestImagesFlag(t *testing.T) {
	c := start(t, nil, "run", "-c", "1", "--images", "loud")
	require.Equal(t, exitUsage, c.wait())
	require.Contains(t, c.err.String(), "--images")
}
