package pyenv

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/ds-sandbox/ds-sandbox/agent"
)

// A probe starts an interpreter, 20 to 300 ms. Its answer is kept while the interpreter's file and the folders of its
// packages are unchanged: installing or removing a package changes its folder's time.

// remembered is a cached answer.
type remembered struct {
	Probe  int               `json:"probe"`  // probeVersion at the time
	Stamps map[string]string `json:"stamps"` // state of the files it depends on, by path
	Python *agent.Python     `json:"python"`
}

// probeVersion rises when agent.Probe asks more than before: older answers lack it.
const probeVersion = 2

// maxRemembered bounds the answers that are kept; the oldest go.
const maxRemembered = 64

// probe asks an interpreter about itself, or the cache.
func probe(ctx context.Context, path string) (*agent.Python, error) {
	file := cacheFile(path)
	if p := recall(file); p != nil {
		return p, nil
	}
	p, err := agent.Probe(ctx, path)
	if err != nil {
		return nil, err
	}
	remember(file, path, p)
	return p, nil
}

// cacheDir is our folder in the user's cache; empty when there is none.
func cacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "ds-sandbox")
}

// cacheFile is where the answer of an interpreter is kept. What a script such as a version manager's shim starts depends
// on where it is called and on variables, so these are part of the name.
func cacheFile(path string) string {
	dir := cacheDir()
	if dir == "" {
		return ""
	}
	key := path
	if isScript(path) {
		cwd, _ := os.Getwd()
		key += "\x00" + cwd + "\x00" + os.Getenv("PYENV_VERSION") + "\x00" + os.Getenv("ASDF_PYTHON_VERSION")
	}
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(dir, "python-"+hex.EncodeToString(sum[:8])+".json")
}

func isScript(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 2)
	n, _ := f.Read(head)
	return bytes.Equal(head[:n], []byte("#!"))
}

func recall(file string) *agent.Python {
	if file == "" {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var r remembered
	if json.Unmarshal(data, &r) != nil || r.Python == nil || r.Probe != probeVersion || len(r.Stamps) == 0 {
		return nil
	}
	for path, was := range r.Stamps {
		if stamp(path) != was {
			return nil
		}
	}
	return r.Python
}

// remember keeps an answer. Without a cache things are slower, not wrong.
func remember(file, path string, p *agent.Python) {
	if file == "" || os.MkdirAll(filepath.Dir(file), 0o700) != nil {
		return
	}
	r := remembered{Probe: probeVersion, Stamps: make(map[string]string), Python: p}
	depends := append([]string{path, p.Executable, filepath.Join(p.Prefix, "pyvenv.cfg")}, p.SiteDirs...)
	if isScript(path) {
		depends = append(depends, versionFiles()...)
	}
	for _, name := range depends {
		r.Stamps[name] = stamp(name)
	}
	data, err := json.Marshal(r)
	if err != nil {
		return
	}
	prune(filepath.Dir(file))
	temporary, err := os.CreateTemp(filepath.Dir(file), "python-*.tmp")
	if err != nil {
		return
	}
	_, err = temporary.Write(data)
	if closeErr := temporary.Close(); err != nil || closeErr != nil || os.Rename(temporary.Name(), file) != nil {
		_ = os.Remove(temporary.Name())
	}
}

// prune makes room for one more answer.
func prune(dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "python-*"))
	if err != nil || len(files) < maxRemembered {
		return
	}
	age := func(name string) int64 {
		info, err := os.Stat(name)
		if err != nil {
			return 0
		}
		return info.ModTime().UnixNano()
	}
	slices.SortFunc(files, func(a, b string) int { return cmp.Compare(age(a), age(b)) })
	for _, name := range files[:len(files)-maxRemembered+1] {
		_ = os.Remove(name)
	}
}

// versionFiles are the files by which version managers choose what a shim starts: in the current folder and those above
// it, and the person's own.
func versionFiles() []string {
	var files []string
	if dir, err := os.Getwd(); err == nil {
		for {
			files = append(files, filepath.Join(dir, ".python-version"), filepath.Join(dir, ".tool-versions"))
			if dir == filepath.Dir(dir) {
				break
			}
			dir = filepath.Dir(dir)
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return files
	}
	root := os.Getenv("PYENV_ROOT")
	if root == "" {
		root = filepath.Join(home, ".pyenv")
	}
	return append(files, filepath.Join(root, "version"), filepath.Join(home, ".tool-versions"))
}

// stamp is a file's state; it changes when the file is replaced, written or removed.
func stamp(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "absent"
	}
	return strconv.FormatInt(info.ModTime().UnixNano(), 36) + "/" + strconv.FormatInt(info.Size(), 36)
}

// fontCache is the folder with matplotlib's font list for an interpreter.
func fontCache(p *agent.Python) string {
	dir := cacheDir()
	if dir == "" || p.Packages["matplotlib"] == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(p.Executable + "\x00" + p.Packages["matplotlib"]))
	return filepath.Join(dir, "fonts-"+hex.EncodeToString(sum[:8]))
}
