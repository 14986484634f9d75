package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// completePatience is how long a person waits for Tab.
const completePatience = 5 * time.Second

// maxShown bounds the list of ways to go on.
const maxShown = 120

// kernelCompleter completes by asking the kernel; before is the code above the line.
func kernelCompleter(c *sandbox.Context, before func() string) completer {
	return func(ctx context.Context, w io.Writer, line string, pos int) (string, int) {
		if strings.TrimSpace(line[:pos]) == "" {
			return line[:pos] + "    " + line[pos:], pos + 4
		}
		ctx, cancel := context.WithTimeout(ctx, completePatience)
		defer cancel()
		above := before()
		offset := utf8.RuneCountInString(above)
		reply, err := c.Complete(ctx, above+line, offset+utf8.RuneCountInString(line[:pos]))
		if err != nil {
			fmt.Fprintf(w, "[ds-sandbox] no completion: %v\n", err)
			return line, pos
		}
		if len(reply.Matches) == 0 {
			return line, pos
		}
		runes := []rune(line)
		start, end := reply.CursorStart-offset, reply.CursorEnd-offset
		if start < 0 || end < start || end > len(runes) {
			return line, pos // it would change lines above, which are sent
		}
		typed := string(runes[start:end])
		grown := commonPrefix(reply.Matches)
		if len(reply.Matches) > 1 && (grown == typed || !strings.HasPrefix(grown, typed)) {
			showMatches(w, reply.Matches)
			return line, pos
		}
		head := string(runes[:start]) + grown
		return head + string(runes[end:]), len(head)
	}
}

func commonPrefix(words []string) string {
	prefix := words[0]
	for _, word := range words[1:] {
		for !strings.HasPrefix(word, prefix) {
			_, size := utf8.DecodeLastRuneInString(prefix)
			prefix = prefix[:len(prefix)-size]
		}
	}
	return prefix
}

// showMatches lists the ways to go on, several to a line. They come from the kernel: what could move the cursor is left out.
func showMatches(w io.Writer, matches []string) {
	more := len(matches) - maxShown
	matches = matches[:min(len(matches), maxShown)]
	width := 0
	clean := make([]string, len(matches))
	for i, m := range matches {
		clean[i] = printable(m)
		width = max(width, utf8.RuneCountInString(clean[i]))
	}
	columns := max(1, 78/(width+2))
	var b strings.Builder
	for i, m := range clean {
		b.WriteString(m)
		if i%columns == columns-1 || i == len(clean)-1 {
			b.WriteByte('\n')
		} else {
			b.WriteString(strings.Repeat(" ", width+2-utf8.RuneCountInString(m)))
		}
	}
	if more > 0 {
		fmt.Fprintf(&b, "... and %d more\n", more)
	}
	_, _ = io.WriteString(w, b.String())
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, s)
}
