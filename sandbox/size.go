package sandbox

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// sizeUnits are the powers of two that a size may end with.
var sizeUnits = map[byte]int{'K': 10, 'M': 20, 'G': 30, 'T': 40}

// ParseSize reads a number of bytes as people write it: 1000000, 512M, 1.5G, 2GiB. Units are powers of two.
func ParseSize(text string) (int64, error) {
	number := strings.ToUpper(strings.TrimSpace(text))
	number = strings.TrimSuffix(strings.TrimSuffix(number, "B"), "I")
	shift := 0
	if n := len(number); n > 0 {
		if bits, ok := sizeUnits[number[n-1]]; ok {
			number, shift = number[:n-1], bits
		}
	}
	size, err := strconv.ParseFloat(number, 64)
	size *= float64(int64(1) << shift)
	if err != nil || !(size >= 1) || size >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is no size: use a number of bytes, or a form like 512M or 2G", text)
	}
	return int64(size), nil
}
