package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
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

// update puts the rows of an earlier run on the same machine in the places of those that were not measured now.
func (r *results) update(name string) error {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var old results
	if err := errors.Join(err, json.Unmarshal(data, &old)); err != nil {
		return err
	}
	if old.Machine != r.Machine || old.Kernel != r.Kernel {
		return fmt.Errorf("%s is of %s with %s: measure all rows", name, old.Machine, old.Kernel)
	}
	measured := groups(r.Rows)
	var rows [][]string
	for _, group := range groups(old.Rows) {
		i := slices.IndexFunc(measured, func(g [][]string) bool { return g[0][0] == group[0][0] })
		if i >= 0 {
			group = measured[i]
			measured = slices.Delete(measured, i, i+1)
		}
		rows = append(rows, group...)
	}
	r.Rows = append(rows, slices.Concat(measured...)...)
	return nil
}

// groups are lines with those below them that are indented.
func groups(lines [][]string) (all [][][]string) {
	for _, line := range lines {
		if len(all) > 0 && strings.HasPrefix(line[0], "  ") {
			all[len(all)-1] = append(all[len(all)-1], line)
			continue
		}
		all = append(all, [][]string{line})
	}
	return all
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
