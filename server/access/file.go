package access

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxKeyFile bounds what is read of a key's file, bytes.
const maxKeyFile = 4 << 10

// NewSecret makes a key.
func NewSecret() string {
	b := make([]byte, 20)
	_, _ = rand.Read(b) // it never fails
	return "e2b_" + hex.EncodeToString(b)
}

// File reads the key in a file that nobody else may read. With create, a file that is not there is made with a new key in it; made says so.
func File(path string, create bool) (secret string, made bool, err error) {
	secret, err = read(path)
	if !create || !errors.Is(err, fs.ErrNotExist) {
		return secret, false, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", false, err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".key-*") // 0600
	if err != nil {
		return "", false, err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	secret = NewSecret()
	_, err = io.WriteString(file, secret+"\n")
	if err = errors.Join(err, file.Close()); err != nil {
		return "", false, err
	}
	err = os.Link(file.Name(), path) // whole, or not at all; and never over what another daemon made meanwhile
	if errors.Is(err, fs.ErrExist) {
		secret, err = read(path)
		return secret, false, err
	}
	return secret, err == nil, err
}

func read(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is no file", path)
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s may be read by others: chmod 600 %s", path, path)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(data))
	if len(secret) < MinSecret || strings.ContainsAny(secret, "\r\n\x00 ") {
		return "", fmt.Errorf("%s holds no key: remove it to have one made, or write one line of at least %d characters", path, MinSecret)
	}
	return secret, nil
}
