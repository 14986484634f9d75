package main

import (
	"github.com/spf13/pflag"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// limitOptions say what a sandbox may use.
type limitOptions struct {
	memory, fileSize, disk, cpuTime string
	processes, openFiles            int
	cpus                            float64

	limits sandbox.Limits // checked
}

func (o *limitOptions) flags(flags *pflag.FlagSet) {
	flags.StringVar(&o.memory, "memory", "", "most memory of all processes: bytes, or a form like 512M or 2G")
	flags.Float64Var(&o.cpus, "cpus", 0, "share of the processors, 1.5 is one and a half; needs a control group")
	flags.StringVar(&o.cpuTime, "cpu-time", "", "most processor time of all processes: seconds, or a form like 90s or 1h30m")
	flags.IntVar(&o.processes, "processes", 0, "most processes and threads; an idle Python kernel has about ten")
	flags.StringVar(&o.fileSize, "file-size", "", "largest file that may be written")
	flags.IntVar(&o.openFiles, "open-files", 0, "most open files of a process; a Python kernel needs about 60")
	flags.StringVar(&o.disk, "disk", "", "most that the workspace and temporary files may take")
}

func (o *limitOptions) check() (err error) {
	l := sandbox.Limits{CPUs: o.cpus, Processes: o.processes, OpenFiles: o.openFiles}
	for _, size := range []struct {
		flag, text string
		field      *int64
	}{{"memory", o.memory, &l.Memory}, {"file-size", o.fileSize, &l.FileSize}, {"disk", o.disk, &l.Disk}} {
		if *size.field, err = readSize(size.text); err != nil {
			return usagef("--%s: %w", size.flag, err)
		}
	}
	if o.cpuTime != "" {
		if l.CPUTime, err = sandbox.ParseDuration(o.cpuTime); err != nil || l.CPUTime <= 0 || l.CPUTime == sandbox.NoTimeout {
			return usagef("--cpu-time: %q is no duration: use seconds, or a form like 90s or 1h30m", o.cpuTime)
		}
	}
	if !(l.CPUs >= 0) || l.Processes < 0 || l.OpenFiles < 0 {
		return usagef("--cpus, --processes and --open-files take positive numbers")
	}
	o.limits = l
	return nil
}

// readSize is sandbox.ParseSize, with no text for no limit.
func readSize(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	return sandbox.ParseSize(text)
}
