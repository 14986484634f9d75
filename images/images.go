// Package images holds the lists of Python packages that sandboxes have; the container image and the managed
// local environment are made from the same one.
package images

import _ "embed"

// Requirements is the list of what every sandbox has, in pip's format with pinned versions.
//
//go:embed requirements.txt
var Requirements string

// TestRequirements is the list of what tests and benchmarks need besides.
//
//go:embed requirements-test.txt
var TestRequirements string
