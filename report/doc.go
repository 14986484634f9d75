// Package report makes a web page of a notebook: one file that stands alone, with its code highlighted, text in the colours
// of terminals, images, and what is interactive. It is light or dark as the reader's system is, and loads nothing from
// anywhere.
//
// What a sandbox produced is hostile. Text is escaped, images are data that can't run, Markdown is sanitised, and HTML and
// its scripts get a sandboxed frame of their own each, without an origin, without network. The page's content security
// policy lets nothing run that this package did not put there.
//
// Start at [Write].
package report
