package declared_test

import (
	"bytes"
	"testing"

	"github.com/tidemark-engine/tidemark/infra/natsio/declared"
	"github.com/tidemark-engine/tidemark/test/harness"
	"github.com/tidemark-engine/tidemark/test/support"
)

func TestMain(m *testing.M) { harness.Main(m) }

// writer is an engine that writes the bucket of a view.
type writer struct {
	t *testing.T
	*declared.Bucket
}

func open(t *testing.T, all *declared.Buckets) writer {
	b := all.Of("VIEW_v")
	_, err := b.Ensure(t.Context())
	harness.Must(t, err)
	return writer{t, b}
}

// put writes one row, as the pump does; nil = it is gone. It reports whether it was written.
func (w writer) put(row []byte) bool {
	w.t.Helper()
	seqs, err := w.Sequences(w.t.Context(), []string{"k"})
	harness.Must(w.t, err)
	written, err := w.Put(w.t.Context(), []string{"k"}, seqs, [][]byte{row})
	harness.Must(w.t, err)
	return written[0]
}

func (w writer) has(want []byte) {
	w.t.Helper()
	all, err := w.All(w.t.Context())
	harness.Must(w.t, err)
	if got := all["k"]; !bytes.Equal(got, want) {
		w.t.Errorf("the bucket has %.60q, want %.60q", got, want)
	}
}

// A row that is gone leaves the bucket, whichever engine put it and whatever the writer
// remembers of the key.
func TestGoneRows(t *testing.T) {
	all, err := declared.New(support.Engine(t, support.NATS(t)), true)
	harness.Must(t, err)
	first, second := open(t, all), open(t, all)
	if !first.put(nil) { // it was made and deleted before it was written
		t.Error("a row that is gone is not written")
	}
	if !second.put([]byte("1")) {
		t.Error("a row is not written")
	}
	second.has([]byte("1"))
	for !first.put(nil) { // what it remembers may be old, and is then read again
	}
	first.has(nil)
}

// A row that the server does not take is missing: no older row stays in its place.
func TestLargeRows(t *testing.T) {
	all, err := declared.New(support.Engine(t, support.NATS(t)), true)
	harness.Must(t, err)
	w := open(t, all)
	w.put([]byte("1"))
	if !w.put(bytes.Repeat([]byte("x"), w.Largest()+1)) {
		t.Error("a row that is too large is not passed")
	}
	w.has(nil)
}
