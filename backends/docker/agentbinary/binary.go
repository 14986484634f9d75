package agentbinary

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Variable names the file, or the folder of the files, where nothing else does.
const Variable = "DS_SANDBOX_AGENT"

// ErrNone says that there is no agent to be had.
var ErrNone = errors.New("this program has no agent built in: `go build -o ds-sandbox-agent ./cmd/ds-sandbox-agent` (CGO_ENABLED=0, " +
	"GOOS=linux, the engine's GOARCH) and name the file with " + Variable)

// Binary is an agent.
type Binary struct {
	Data   []byte
	Hash   string // of Data, 16 characters
	Source string // where it was found, for messages
}

// maxBinary bounds a binary, bytes.
const maxBinary = 256 << 20

var (
	mu    sync.Mutex
	known = make(map[string]*Binary) // by architecture: of those built in
)

// Find is the agent for an architecture, by Go's name for it: the file named by path, or by DS_SANDBOX_AGENT, or what is
// built in. A folder holds one file for each architecture, ds-sandbox-agent-linux-ARCH. Error: ErrNone.
func Find(arch, path string) (*Binary, error) {
	if path == "" {
		path = os.Getenv(Variable)
	}
	if path != "" {
		return read(arch, path)
	}
	return builtIn(arch)
}

// read reads a file each time: who develops the agent wants the new one.
func read(arch, path string) (*Binary, error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		path = filepath.Join(path, "ds-sandbox-agent-linux-"+arch)
		info, err = os.Stat(path)
	}
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxBinary {
		return nil, fmt.Errorf("agent: %s is no program", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	b := newBinary(data, path)
	return b, b.check(arch)
}

func newBinary(data []byte, source string) *Binary {
	sum := sha256.Sum256(data)
	return &Binary{Data: data, Hash: hex.EncodeToString(sum[:8]), Source: source}
}

// builtIn unpacks what was built in, once.
func builtIn(arch string) (*Binary, error) {
	mu.Lock()
	defer mu.Unlock()
	if b := known[arch]; b != nil {
		return b, nil
	}
	packed, err := embedded.ReadFile("linux-" + arch + ".gz")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("agent for linux/%s: %w", arch, ErrNone)
	}
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("agent built in for %s: %w", arch, err)
	}
	data, err := io.ReadAll(io.LimitReader(z, maxBinary))
	if err != nil {
		return nil, fmt.Errorf("agent built in for %s: %w", arch, err)
	}
	b := newBinary(data, "built in")
	known[arch] = b
	return b, b.check(arch)
}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// check refuses what the engine's machine can't run.
func (b *Binary) check(arch string) error {
	f, err := elf.NewFile(bytes.NewReader(b.Data))
	if err != nil {
		return fmt.Errorf("agent: %s is no program of Linux: %w", b.Source, err)
	}
	defer func() { _ = f.Close() }()
	if want, ok := machines[arch]; ok && f.Machine != want {
		return fmt.Errorf("agent: %s is for %v and the engine's machine is %s: build it with GOARCH=%s", b.Source, f.Machine, arch, arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("agent: %s needs libraries that an image may lack: build it with CGO_ENABLED=0", b.Source)
		}
	}
	return nil
}
