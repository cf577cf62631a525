package export

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compress compresses as the file name says: .zst with zstd, .jsonl not at all, all others with
// gzip. Close does not close w.
func Compress(w io.Writer, name string) (io.WriteCloser, error) {
	switch {
	case strings.HasSuffix(name, ".zst"):
		return zstd.NewWriter(w)
	case strings.HasSuffix(name, ".jsonl"):
		return nopCloser{w}, nil
	}
	return gzip.NewWriterLevel(w, gzip.BestSpeed)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// Decompress reads what Compress wrote; it detects the format by the content.
func Decompress(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 1<<18)
	magic, err := b.Peek(4)
	if err != nil && len(magic) == 0 {
		return nil, fmt.Errorf("%w: the file is empty", ErrDamaged)
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return gzip.NewReader(b)
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b)
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(b), nil
}
