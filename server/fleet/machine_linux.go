package fleet

import "golang.org/x/sys/unix"

// machineMemory is the memory of the machine, bytes; 0 if unknown.
func machineMemory() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit) //nolint:unconvert // it is 32 bits on some machines
}

// machineDisk is the size of the file system that holds a folder, bytes; 0 if unknown.
func machineDisk(dir string) int64 {
	var stat unix.Statfs_t
	if unix.Statfs(dir, &stat) != nil {
		return 0
	}
	return int64(stat.Blocks) * int64(stat.Bsize) //nolint:unconvert // it is 32 bits on some machines
}
