// Package images holds what the container image is made from, and the lists of Python packages that it and the managed local
// environment have.
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

// Dockerfile is how the container image is made; see package backends/docker.
//
//go:embed Dockerfile.kernel
var Dockerfile string

// KernelRequirements is what the image's kernels of other languages need, each line with the language in a comment at its end.
//
//go:embed kernels.txt
var KernelRequirements string

// KernelScript is the Python program that writes their kernelspecs.
//
//go:embed kernels.py
var KernelScript string
