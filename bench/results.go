package main

import (
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"time"
)

// results is what a run of the benchmark leaves, for the chart of the README.
type results struct {
	Date    string     `json:"date"`
	Machine string     `json:"machine"`
	Kernel  string     `json:"kernel"`
	Columns []string   `json:"columns"`
	Rows    [][]string `json:"rows"`
}

// write stores the results.
func (r *results) write(name string) error {
	r.Date = time.Now().UTC().Format(time.DateOnly)
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(data, '\n'), 0o644)
}

// machine names the processor and the system.
func machine() string {
	name := runtime.GOARCH
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == "model name" {
				name = strings.TrimSpace(value)
				break
			}
		}
	}
	if data, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		name += ", Linux " + strings.SplitN(strings.TrimSpace(string(data)), "-", 2)[0]
	}
	return name
}
