package export_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/tidemark-engine/tidemark/projections/retention/export"
)

// FuzzReader reads any file. Only a file that is complete ends with io.EOF, and then it had
// the events that its header counts.
func FuzzReader(f *testing.F) {
	f.Add(write(f, "x", [][][]byte{{[]byte(`{"a":1}`), bodies[4]}, {}}))
	f.Add(write(f, "x", [][][]byte{nil}))
	for _, text := range []string{"", "\n", `{"format":"tidemark-journal","version":1,"partitions":1,"heads":[18446744073709551615]}`, `{"events":0}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := export.NewReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		events := uint64(0)
		for err == nil {
			var ev export.Event
			if ev, err = r.Next(); err != nil {
				break
			}
			if events++; ev.Revision == 0 || ev.Partition >= r.Header.Partitions || ev.Stream == "" {
				t.Fatalf("%+v of %q", ev, file)
			}
		}
		if errors.Is(err, io.EOF) && events != r.Header.Events() {
			t.Errorf("%d events, the header counts %d: %q", events, r.Header.Events(), file)
		}
	})
}
