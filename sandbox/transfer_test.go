package sandbox_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// transferErr is the error of an Upload or Download.
func transferErr(_ *sandbox.Transferred, err error) error { return err }

func TestTreesGoInAndOut(t *testing.T) {
	ctx, sbx := lazySandbox(t)
	files, from := sbx.Files(), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(from, "a", "b"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(from, "a", "b", "run.sh"), []byte("#!/bin/sh\necho ran\n"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(from, "big"), make([]byte, 10<<20), 0o600))
	require.NoError(t, os.Symlink("big", filepath.Join(from, "link")))
	var last sandbox.Progress
	require.NoError(t, transferErr(files.Upload(ctx, from, "data", &sandbox.TransferOptions{OnProgress: func(p sandbox.Progress) { last = p }})))
	require.Equal(t, int64(10<<20)+19, last.Bytes)
	result, err := sbx.Commands().Run(ctx, "data/a/b/run.sh", nil)
	require.NoError(t, err)
	require.Equal(t, "ran\n", result.Stdout)
	require.NoError(t, transferErr(files.Upload(ctx, filepath.Join(from, "link"), "one", nil)), "one file, through a link of ours")
	info, err := files.Info(ctx, "one/big")
	require.NoError(t, err)
	require.Equal(t, int64(10<<20), info.Size)
	require.ErrorIs(t, transferErr(files.Upload(ctx, filepath.Join(from, "none"), "x", nil)), fs.ErrNotExist)
	require.ErrorIs(t, transferErr(files.Upload(ctx, from, "../x", nil)), sandbox.ErrOutside)

	to := filepath.Join(t.TempDir(), "new", "folder")
	last = sandbox.Progress{}
	require.NoError(t, transferErr(files.Download(ctx, "data", to, &sandbox.TransferOptions{OnProgress: func(p sandbox.Progress) { last = p }})))
	require.Equal(t, int64(10<<20)+19, last.Bytes)
	info2, err := os.Stat(filepath.Join(to, "a", "b", "run.sh"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o755), info2.Mode())
	target, err := os.Readlink(filepath.Join(to, "link"))
	require.NoError(t, err)
	require.Equal(t, "big", target)
	require.NoError(t, transferErr(files.Download(ctx, "data/a/b/run.sh", to, nil)))
	require.FileExists(t, filepath.Join(to, "run.sh"))
	require.ErrorIs(t, transferErr(files.Download(ctx, "none", to, nil)), fs.ErrNotExist)
}

func TestDownloadNeverLeavesItsFolder(t *testing.T) {
	ctx, sbx := lazySandbox(t)
	top := t.TempDir()
	_, err := sbx.Commands().Run(ctx, "mkdir d; ln -s ../../out d/a; echo x >d/b", nil)
	require.NoError(t, err)
	require.ErrorIs(t, transferErr(sbx.Files().Download(ctx, "d", filepath.Join(top, "in"), nil)), sandbox.ErrOutside)
	_, err = sbx.Commands().Run(ctx, "rm d/a; ln -s "+top+" d/a", nil)
	require.NoError(t, err)
	require.ErrorIs(t, transferErr(sbx.Files().Download(ctx, "d", filepath.Join(top, "in"), nil)), sandbox.ErrOutside)
	// A link of ours in the target that leads out is not followed either.
	require.NoError(t, os.Symlink(top, filepath.Join(top, "in", "sub")))
	_, err = sbx.Commands().Run(ctx, "rm d/a; mkdir d/sub; echo x >d/sub/escaped", nil)
	require.NoError(t, err)
	require.Error(t, transferErr(sbx.Files().Download(ctx, "d", filepath.Join(top, "in"), nil)))
	require.NoFileExists(t, filepath.Join(top, "escaped"))
}

func TestDownloadKeepsLinksThatStayInside(t *testing.T) {
	ctx, sbx := lazySandbox(t)
	_, err := sbx.Commands().Run(ctx, `mkdir -p d/sub v/bin; echo x >d/f; ln -s "$PWD/d/f" d/sub/abs; ln -s "$PWD/d" d/sub/top
ln -s "$PWD/v" d/beside; ln -s /usr/bin/env v/bin/env; echo x >v/z`, nil)
	require.NoError(t, err)
	links := func(t *testing.T, dir string) map[string]string {
		found := make(map[string]string)
		require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if target, _ := os.Readlink(path); target != "" {
				rel, _ := filepath.Rel(dir, path)
				found[rel] = target
			}
			return err
		}))
		return found
	}
	for policy, want := range map[sandbox.LinkPolicy]map[string]string{
		"":                {"d/sub/abs": "../f", "d/sub/top": "..", "d/beside": "../v"},
		sandbox.LinksKeep: {"d/sub/abs": "../f", "d/sub/top": "..", "d/beside": "../v", "v/bin/env": "/usr/bin/env"},
	} {
		to := t.TempDir()
		_, err := sbx.Files().Download(ctx, "", to, &sandbox.TransferOptions{Links: policy})
		if policy == "" {
			left := new(sandbox.SkippedError)
			require.ErrorAs(t, err, &left)
			require.ErrorIs(t, err, sandbox.ErrOutside)
			require.Equal(t, 1, left.Count)
			require.Equal(t, "v/bin/env", left.Skipped[0].Name)
		} else {
			require.NoError(t, err)
		}
		require.Equal(t, want, links(t, to))
		require.FileExists(t, filepath.Join(to, "v", "z"), "what comes after it")
	}
	require.ErrorIs(t, transferErr(sbx.Files().Download(ctx, "", t.TempDir(), &sandbox.TransferOptions{Links: sandbox.LinksFail})), sandbox.ErrOutside)
	require.ErrorContains(t, transferErr(sbx.Files().Download(ctx, "", t.TempDir(), &sandbox.TransferOptions{Links: "some"})), `"some"`)
	to := t.TempDir()
	require.ErrorIs(t, transferErr(sbx.Files().Download(ctx, "/home/user/d", to, nil)), sandbox.ErrOutside, "what lies beside the folder is outside")
	require.Equal(t, map[string]string{"sub/abs": "../f", "sub/top": ".."}, links(t, to))
}

func TestTransfersLeaveOutWhatMayNotBeRead(t *testing.T) {
	if os.Geteuid() == 0 {
		backendtest.AsOrdinaryUser(t, "^"+t.Name()+"$", t.Name())
		return
	}
	ctx, sbx := lazySandbox(t)
	_, err := sbx.Commands().Run(ctx, "mkdir -p d; echo a >d/a; mkdir -m 0 d/closed; echo z >d/z", nil)
	require.NoError(t, err)
	to := t.TempDir()
	left := new(sandbox.SkippedError)
	require.ErrorAs(t, transferErr(sbx.Files().Download(ctx, "d", to, nil)), &left)
	require.Equal(t, "closed", left.Skipped[0].Name)
	require.FileExists(t, filepath.Join(to, "z"))
	require.DirExists(t, filepath.Join(to, "closed"))
	require.NoError(t, os.Chmod(filepath.Join(to, "closed"), 0))
	require.ErrorIs(t, transferErr(sbx.Files().Upload(ctx, to, "up", nil)), fs.ErrPermission)
	text, err := sbx.Files().ReadString(ctx, "up/z")
	require.NoError(t, err)
	require.Equal(t, "z\n", text)
	require.ErrorContains(t, sbx.Files().Copy(ctx, "d", "e"), `1 left out: "closed"`)
}

// endless is a reader of a pattern.
type endless struct{ at byte }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.at
		e.at++
	}
	return len(p), nil
}

func TestTwoGigabytesWithFlatMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 2 GB")
	}
	ctx, sbx := lazySandbox(t)
	const size = 2 << 30
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n, err := sbx.Files().WriteFrom(ctx, "large", io.LimitReader(&endless{}, size), nil)
	require.NoError(t, err)
	require.Equal(t, int64(size), n)
	r, err := sbx.Files().OpenRange(ctx, "large", size-1000, 0)
	require.NoError(t, err)
	tail, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Len(t, tail, 1000)
	require.NoError(t, sbx.Files().Export(ctx, "large", io.Discard))
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(32<<20))
}

func TestFullDiskSaysSoAndLeavesTheOldFile(t *testing.T) {
	ctx, sbx := lazySandbox(t)
	files, dir := sbx.Files(), filepath.Join(sbx.Info().Workspace, "small")
	require.NoError(t, files.MakeDir(ctx, "small"))
	mountSmall(t, dir)
	require.NoError(t, files.WriteString(ctx, "small/f", "old"))
	_, err := files.WriteFrom(ctx, "small/f", io.LimitReader(&endless{}, 8<<20), nil)
	require.ErrorIs(t, err, sandbox.ErrNoSpace)
	text, err := files.ReadString(ctx, "small/f")
	require.NoError(t, err)
	require.Equal(t, "old", text)
	infos, err := files.List(ctx, "small")
	require.NoError(t, err)
	require.Len(t, infos, 1)
}

func TestAHundredThousandSmallFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 100,000 files")
	}
	ctx, sbx := lazySandbox(t)
	files := sbx.Files()
	_, err := sbx.Commands().Run(ctx, `python -c "
import os
for d in range(100):
    os.makedirs('many/%d' % d)
    for i in range(1000):
        os.close(os.open('many/%d/%d' % (d, i), os.O_CREAT | os.O_WRONLY))
"`, &sandbox.CommandOptions{Timeout: 2 * time.Minute})
	require.NoError(t, err)
	infos, err := files.List(ctx, "many")
	require.NoError(t, err)
	require.Len(t, infos, 100)
	_, err = files.ListTree(ctx, "many", 5)
	require.ErrorContains(t, err, "too many entries")
	h := sha256.New()
	require.NoError(t, files.Export(ctx, "many", h))
	_, err = sbx.Commands().Run(ctx, `python -c "
for i in range(100000, 101500): open('many/%d' % i, 'w')
"`, nil)
	require.NoError(t, err)
	infos, err = files.List(ctx, "many")
	require.NoError(t, err)
	require.Len(t, infos, 1600)
	start := time.Now()
	require.NoError(t, files.Remove(ctx, "many"))
	require.Less(t, time.Since(start), time.Minute)
}

func TestLongNamesAreErrorsNotPanics(t *testing.T) {
	ctx, sbx := lazySandbox(t)
	files := sbx.Files()
	for _, name := range []string{strings.Repeat("n", 10_000), strings.Repeat("d/", 5_000), "\xff\xfe", "nul\x00byte"} {
		require.ErrorIs(t, files.WriteString(ctx, name, "x"), sandbox.ErrInvalidName)
		require.ErrorIs(t, files.Copy(ctx, name, "x"), sandbox.ErrInvalidName)
		require.ErrorIs(t, files.Export(ctx, name, io.Discard), sandbox.ErrInvalidName)
		require.ErrorIs(t, files.Import(ctx, name, bytes.NewReader(nil)), sandbox.ErrInvalidName)
		require.ErrorIs(t, files.SetMetadata(ctx, name, nil), sandbox.ErrInvalidName)
		_, err := files.ListTree(ctx, name, 2)
		require.ErrorIs(t, err, sandbox.ErrInvalidName)
	}
	// What only the code can name comes out with replacements, and goes in an export as it is.
	_, err := sbx.Commands().Run(ctx, `printf x >"$(printf '\377')"`, nil)
	require.NoError(t, err)
	infos, err := files.List(ctx, "")
	require.NoError(t, err)
	require.Equal(t, "\uFFFDff", infos[0].Name)
	to := t.TempDir()
	require.NoError(t, transferErr(files.Download(ctx, "", to, nil)))
	data, err := os.ReadFile(filepath.Join(to, "\xff"))
	require.NoError(t, err)
	require.Equal(t, "x", string(data))
}
