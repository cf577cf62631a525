package harness

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// SmallDisk is a directory on a file system of its own with that many bytes. ok
// is false where this process may not mount one.
func SmallDisk(t testing.TB, bytes int) (dir string, ok bool) {
	t.Helper()
	return smallDisk(t, "size="+strconv.Itoa(bytes))
}

// FewFiles is like SmallDisk with so many files.
func FewFiles(t testing.TB, files int) (dir string, ok bool) {
	t.Helper()
	return smallDisk(t, "nr_inodes="+strconv.Itoa(files))
}

func smallDisk(t testing.TB, limit string) (dir string, ok bool) {
	t.Helper()
	dir = TempDir(t)
	if mountTmpfs(dir, limit+",mode=0711") != nil {
		return "", false
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir, true
}

// FillFiles makes files in a directory until its file system takes no more, and returns
// the function that removes them.
func FillFiles(t testing.TB, dir string) (free func()) {
	t.Helper()
	dir = filepath.Join(dir, "files")
	Must(t, os.Mkdir(dir, 0o700))
	for i := 0; os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o600) == nil; i++ {
	}
	return func() { Must(t, os.RemoveAll(dir)) }
}

// FillDisk writes a file into a directory until its file system is full, and
// returns the function that removes the file.
func FillDisk(t testing.TB, dir string) (free func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "ballast"))
	Must(t, err)
	for chunk := make([]byte, 64<<10); len(chunk) > 0; {
		if _, err := f.Write(chunk); err != nil {
			chunk = chunk[:len(chunk)/2]
		}
	}
	Must(t, f.Close())
	return func() { Must(t, os.Remove(f.Name())) }
}
