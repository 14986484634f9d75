package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	_ "image/jpeg" // for image.Decode
	"image/png"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// protocol is how a terminal is told a picture.
type protocol string

// The protocols that terminals have.
const (
	protocolNone  protocol = ""
	protocolKitty protocol = "kitty"  // kitty, Ghostty, Konsole
	protocolITerm protocol = "iterm2" // iTerm2, WezTerm, mintty
	protocolSixel protocol = "sixel"  // foot, xterm, Windows Terminal, mlterm
)

// pictures shows figures in a terminal.
type pictures struct {
	mode     string // of --images
	terminal any    // that shows them: standard output
	keyboard any    // where a terminal answers: standard input

	protocol protocol
	known    bool
}

// imagesFlag adds the flag.
func imagesFlag(flags *pflag.FlagSet, mode *string) {
	flags.StringVar(mode, "images", "auto", "show figures in the terminal: auto, always, never, or how: kitty, iterm2, sixel")
}

func newPictures(s *streams, mode string) (*pictures, error) {
	p := &pictures{mode: mode, terminal: s.out, keyboard: s.in}
	switch mode {
	case "auto", "always":
	case "never":
		p.known = true
	case string(protocolKitty), string(protocolITerm), string(protocolSixel):
		p.protocol, p.known = protocol(mode), true
	default:
		return nil, usagef("--images: %q: use auto, always, never, kitty, iterm2 or sixel", mode)
	}
	return p, nil
}

// detect finds out once what the terminal can show. It asks the terminal only where its name says nothing; the answer comes by
// the keyboard, so nobody may read that meanwhile.
func (p *pictures) detect() {
	if p.known {
		return
	}
	p.known = true
	if _, ok := terminalFd(p.terminal); ok {
		var certain bool
		if p.protocol, certain = protocolByName(os.Getenv); !certain {
			p.protocol = askProtocol(p.keyboard, p.terminal)
		}
	}
	if p.protocol == protocolNone && p.mode == "always" {
		p.protocol = protocolKitty
	}
}

// protocolByName knows terminals by their variables; certain says that asking is of no use.
func protocolByName(env func(string) string) (_ protocol, certain bool) {
	term, program := env("TERM"), env("TERM_PROGRAM")
	switch {
	case term == "" || term == "dumb" || term == "linux":
		return protocolNone, true
	case env("TMUX") != "" || strings.HasPrefix(term, "screen") || strings.HasPrefix(term, "tmux"):
		return protocolNone, false // the variables are those of the terminal outside
	case env("KITTY_WINDOW_ID") != "" || term == "xterm-kitty" || term == "xterm-ghostty" || program == "ghostty":
		return protocolKitty, true
	case program == "iTerm.app" || program == "WezTerm" || program == "mintty" || env("LC_TERMINAL") == "iTerm2":
		return protocolITerm, true
	case strings.HasPrefix(term, "foot") || strings.Contains(term, "sixel") || strings.HasPrefix(term, "mlterm"):
		return protocolSixel, true
	}
	return protocolNone, false
}

// terminalQuery asks whether the terminal knows kitty's protocol, and then what it is, which every terminal answers.
const terminalQuery = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c"

// protocolOfAnswer reads the answer to terminalQuery; done says that it is complete.
func protocolOfAnswer(answer string) (_ protocol, done bool) {
	_, attributes, ok := strings.Cut(answer, "\x1b[?")
	attributes, _, complete := strings.Cut(attributes, "c")
	if !ok || !complete {
		return protocolNone, false
	}
	if strings.Contains(answer, "\x1b_Gi=31;OK") {
		return protocolKitty, true
	}
	for _, attribute := range strings.Split(attributes, ";")[1:] {
		if attribute == "4" {
			return protocolSixel, true
		}
	}
	return protocolNone, true
}

// The bounds of a picture that a terminal is given.
const (
	maxPictureBytes  = 16 << 20
	maxPicturePixels = 32 << 20
)

// show shows the picture of a result; ok is false when it can't be shown here.
func (p *pictures) show(w io.Writer, r *sandbox.Result) (ok bool, err error) {
	data, ext, isImage := r.Image()
	if !isImage || ext != ".png" && ext != ".jpg" || len(data) > maxPictureBytes {
		return false, nil
	}
	config, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil || int64(config.Width)*int64(config.Height) > maxPicturePixels {
		return false, nil //nolint:nilerr // the terminal is not given what is no picture
	}
	p.detect()
	width, columns := p.window()
	fit := width > 0 && config.Width > width
	var b bytes.Buffer
	switch p.protocol {
	case protocolKitty:
		if ext == ".jpg" {
			if data, err = asPNG(data); err != nil {
				return false, nil //nolint:nilerr // see above
			}
		}
		if !fit {
			columns = 0
		}
		writeKitty(&b, data, columns)
	case protocolITerm:
		size := ""
		if fit {
			size = ";width=100%"
		}
		fmt.Fprintf(&b, "\x1b]1337;File=inline=1;size=%d%s:%s\a", len(data), size, base64.StdEncoding.EncodeToString(data))
	case protocolSixel:
		picture, _, err := image.Decode(bytes.NewReader(data))
		if err != nil {
			return false, nil //nolint:nilerr // see above
		}
		writeSixel(&b, picture, width)
	default:
		return false, nil
	}
	b.WriteByte('\n')
	_, err = w.Write(b.Bytes())
	return true, err
}

func asPNG(data []byte) ([]byte, error) {
	picture, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = png.Encode(&b, picture)
	return b.Bytes(), err
}

// writeKitty writes a PNG in kitty's protocol, in pieces of the size that it allows; columns is the width, 0 the picture's own.
func writeKitty(b *bytes.Buffer, data []byte, columns int) {
	const piece = 4096
	keys := "a=T,f=100,q=2"
	if columns > 0 {
		keys += fmt.Sprintf(",c=%d", columns)
	}
	for text := base64.StdEncoding.EncodeToString(data); text != ""; keys = "q=2" {
		n := min(piece, len(text))
		more := 0
		if n < len(text) {
			more = 1
		}
		fmt.Fprintf(b, "\x1b_G%s,m=%d;%s\x1b\\", keys, more, text[:n])
		text = text[n:]
	}
}
