package docker

import (
	"slices"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// narrowed is Docker's profile, narrower in two ways.
//
// Sockets are of the families unix, IPv4, IPv6 and of netlink's routes and socket diagnosis, told by equality, which no upper half of a
// register gets around. Engines before 23 admit AF_VSOCK, which knows no network namespace: in a virtual machine it reaches the
// hypervisor's machine from a container without any network. Netlink's audit says that it is not there, so that sudo, without the
// capability to write the machine's audit log, does not complain.
//
// 32-bit programs do not run: their socketcall passes its arguments where no filter sees them.
func narrowed() *seccomp.Seccomp {
	p := seccomp.DefaultProfile()
	p.ArchMap = slices.DeleteFunc(p.ArchMap, func(a seccomp.Architecture) bool {
		return a.Arch != specs.ArchX86_64 && a.Arch != specs.ArchAARCH64
	})
	for i := range p.ArchMap {
		p.ArchMap[i].SubArches = []specs.Arch{}
	}
	p.Syscalls = slices.DeleteFunc(p.Syscalls, func(s *seccomp.Syscall) bool { return slices.Equal(s.Names, []string{"socket"}) })
	for _, s := range p.Syscalls {
		s.Names = slices.DeleteFunc(s.Names, func(name string) bool { return name == "socketcall" })
	}
	for _, family := range []uint64{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6} {
		p.Syscalls = append(p.Syscalls, socketRule(specs.ActAllow, 0, argument(0, family, specs.OpEqualTo)))
	}
	netlink := argument(0, unix.AF_NETLINK, specs.OpEqualTo)
	for _, protocol := range []uint64{unix.NETLINK_ROUTE, unix.NETLINK_SOCK_DIAG} {
		p.Syscalls = append(p.Syscalls, socketRule(specs.ActAllow, 0, netlink, argument(2, protocol, specs.OpEqualTo)))
	}
	p.Syscalls = append(p.Syscalls,
		socketRule(specs.ActErrno, unix.EPROTONOSUPPORT, netlink, argument(2, unix.NETLINK_SOCK_DIAG, specs.OpGreaterThan)),
		socketRule(specs.ActErrno, unix.EAFNOSUPPORT, argument(0, unix.AF_NETLINK, specs.OpGreaterThan)))
	return p
}

func argument(index uint, value uint64, op specs.LinuxSeccompOperator) specs.LinuxSeccompArg {
	return specs.LinuxSeccompArg{Index: index, Value: value, Op: op}
}

func socketRule(action specs.LinuxSeccompAction, errno unix.Errno, args ...specs.LinuxSeccompArg) *seccomp.Syscall {
	s := &seccomp.Syscall{LinuxSyscall: specs.LinuxSyscall{Names: []string{"socket"}, Action: action, Args: args}}
	if errno != 0 {
		number := uint(errno)
		s.ErrnoRet = &number
	}
	return s
}
