// Package pyenv finds or makes the Python that local sandboxes run on.
//
// [Find] looks in a fixed order and asks each candidate about itself; answers are cached on disk, so that it
// costs a few file operations. [Setup] makes the managed environment when there is nothing to find. It has no
// goroutines. Start at [Find].
package pyenv
