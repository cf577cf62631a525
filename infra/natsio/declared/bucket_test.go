package declared_test

import (
	"bytes"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
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

// What another program removes from a bucket is noticed, also of some keys only; the
// engine's own is not.
func TestPurgesAreNoticed(t *testing.T) {
	server := support.NATS(t)
	nc := support.Engine(t, server)
	all, err := declared.New(nc, true)
	harness.Must(t, err)
	end, err := natsio.FollowPurges(nc, all.Purged)
	harness.Must(t, err)
	defer end()
	w := open(t, all)
	lacks := func() bool {
		t.Helper()
		lacks, err := w.Ensure(t.Context())
		harness.Must(t, err)
		return lacks
	}
	w.put([]byte("1"))
	if lacks() {
		t.Error("a bucket that has its rows lacks some")
	}
	purge := func(name, key string) {
		s, err := support.JetStream(t, support.Engine(t, server, nats.Name(name))).Stream(t.Context(), "KV_VIEW_v")
		harness.Must(t, err)
		harness.Must(t, s.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.VIEW_v."+key)))
	}
	purge("tidemark-erasure", "none")
	if lacks() {
		t.Error("the engine's own purge is noticed")
	}
	purge("another-program", "none")
	harness.Eventually(t, "the purge is noticed", lacks)
	if lacks() {
		t.Error("the purge is noticed again")
	}
}
