// Package archive turns folders into tar streams and back, over os.Root, and trusts neither the folder nor the stream.
//
// Code may change a folder while it is read: what is swapped for a link is not followed, a file that shrinks is padded with
// zeros to the size that was announced, one that grows is cut there. Nothing is ever written outside of the root given.
// Memory stays flat whatever the size; one folder may hold a million entries.
//
// Start at [Pack] and [Unpack]; [Stage] is for a single file.
package archive
