package archive

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// User metadata are extended attributes under a name of ours.
const (
	attribute = "user.ds_sandbox."
	record    = "SCHILY.xattr." + attribute // in a tar stream
)

// What a file's metadata may be.
const (
	maxMetadata = 4096 // bytes of all keys and values
	maxAttrs    = 64 << 10
)

var metadataKey = regexp.MustCompile(`^[A-Za-z0-9._-]{1,200}$`)

// CheckMetadata says what is wrong with metadata, if anything.
func CheckMetadata(metadata map[string]string) error {
	size := 0
	for key, value := range metadata {
		size += len(key) + len(value)
		if !metadataKey.MatchString(key) {
			return fmt.Errorf("metadata key %q: use 1 to 200 letters, digits, dots, dashes and underscores", key)
		}
		if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
			return fmt.Errorf("metadata value of %q: use valid UTF-8 without NUL", key)
		}
	}
	if size > maxMetadata {
		return fmt.Errorf("metadata of %d bytes: at most %d are kept", size, maxMetadata)
	}
	return nil
}

// Metadata reads the user metadata of an open file; none where the file system has no such thing.
func Metadata(f *os.File) (map[string]string, error) {
	names, err := attributes(f)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	metadata := make(map[string]string)
	err = control(f, func(fd int) error {
		var buf [maxMetadata]byte
		for _, name := range names {
			n, err := unix.Fgetxattr(fd, name, buf[:])
			if err != nil {
				continue // gone, or larger than any of ours
			}
			metadata[strings.TrimPrefix(name, attribute)] = strings.ToValidUTF8(string(buf[:n]), "\uFFFD")
		}
		return nil
	})
	return metadata, err
}

// attributes lists the names of our attributes.
func attributes(f *os.File) ([]string, error) {
	var ours []string
	err := control(f, func(fd int) error {
		var small [1024]byte
		buf := small[:]
		n, err := unix.Flistxattr(fd, buf)
		if errors.Is(err, syscall.ERANGE) {
			buf = make([]byte, maxAttrs)
			n, err = unix.Flistxattr(fd, buf)
		}
		if err != nil {
			return nil //nolint:nilerr // none are kept here
		}
		for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
			if strings.HasPrefix(name, attribute) {
				ours = append(ours, name)
			}
		}
		return nil
	})
	return ours, err
}

// SetMetadata replaces the user metadata of an open file.
func SetMetadata(f *os.File, metadata map[string]string) error {
	if err := CheckMetadata(metadata); err != nil {
		return err
	}
	old, err := attributes(f)
	if err != nil {
		return err
	}
	return control(f, func(fd int) error {
		for _, name := range old {
			if _, stays := metadata[strings.TrimPrefix(name, attribute)]; stays {
				continue
			}
			if err := unix.Fremovexattr(fd, name); err != nil && !errors.Is(err, noAttribute) {
				return err
			}
		}
		for key, value := range metadata {
			err := unix.Fsetxattr(fd, attribute+key, []byte(value), 0)
			if errors.Is(err, syscall.EOPNOTSUPP) {
				return fmt.Errorf("%w: the file system keeps no metadata", backends.ErrUnsupported)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// control uses a file's descriptor, which stays as it is.
func control(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = do(int(fd)) }); err != nil {
		return err
	}
	return inner
}

func records(metadata map[string]string) map[string]string {
	if len(metadata) == 0 {
		return nil
	}
	out := make(map[string]string, len(metadata))
	for key, value := range metadata {
		out[record+key] = value
	}
	return out
}

func fromRecords(records map[string]string) map[string]string {
	var out map[string]string
	for name, value := range records {
		if key, ok := strings.CutPrefix(name, record); ok && metadataKey.MatchString(key) {
			if out == nil {
				out = make(map[string]string)
			}
			out[key] = value
		}
	}
	return out
}
