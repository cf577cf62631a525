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

// Pack compresses as a file's name says: .zst, .jsonl (not at all), and gzip
// for all others. Close ends it, not what is below.
func Pack(w io.Writer, name string) (io.WriteCloser, error) {
	switch {
	case strings.HasSuffix(name, ".zst"):
		return zstd.NewWriter(w)
	case strings.HasSuffix(name, ".jsonl"):
		return open{w}, nil
	}
	return gzip.NewWriterLevel(w, gzip.BestSpeed)
}

type open struct{ io.Writer }

func (open) Close() error { return nil }

// Unpack reads what Pack wrote, by its content.
func Unpack(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 1<<18)
	magic, err := b.Peek(4)
	if err != nil && len(magic) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrDamaged)
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
