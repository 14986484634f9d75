//go:build !linux

package fleet

func machineMemory() int64 { return 0 }

func machineDisk(string) int64 { return 0 }
