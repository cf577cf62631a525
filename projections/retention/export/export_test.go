package export_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/events"
	"github.com/tidemark-engine/tidemark/history"
	"github.com/tidemark-engine/tidemark/projections/retention/export"
)

// failer is a *testing.T or a *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
}

// write makes an export of partitions with these bodies.
func write(t failer, name string, partitions [][][]byte) []byte {
	t.Helper()
	var file bytes.Buffer
	packed, err := export.Compress(&file, name)
	if err != nil {
		t.Fatal(err)
	}
	h := export.Header{Journal: "j", Partitions: len(partitions), MadeAt: time.Unix(1, 0).UTC()}
	for _, bodies := range partitions {
		h.Heads = append(h.Heads, uint64(len(bodies)))
	}
	w, err := export.NewWriter(packed, h)
	if err != nil {
		t.Fatal(err)
	}
	for p, bodies := range partitions {
		for i, body := range bodies {
			m := history.Message{Body: body, Record: events.Record{Name: `agent.a"1.state.k`, Partition: p, Revision: uint64(i + 1)}}
			if err := w.Event(&m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(w.Close(), packed.Close()); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// read returns the content of an export; io.EOF after a valid trailer.
func read(file []byte) (partitions [][][]byte, err error) {
	u, err := export.Decompress(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	defer u.Close()
	r, err := export.NewReader(u)
	if err != nil {
		return nil, err
	}
	partitions = make([][][]byte, r.Header.Partitions)
	for {
		ev, err := r.Next()
		if err != nil {
			return partitions, err
		}
		partitions[ev.Partition] = append(partitions[ev.Partition], ev.Body)
	}
}

var bodies = [][]byte{
	[]byte(`{"a":1.0}`), []byte("{\"a\":\n1}"), []byte("{\"a\" :\t1 }"), []byte(`{} `), []byte("{\"a\":\"\xff\"}"), {},
	[]byte(`not JSON`), []byte(`{"a":1,"a":2}`), []byte(`{"a":"\u0000\ud800"}`), []byte(`"text"`), []byte("\r\n"),
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.OneOf(rapid.SampledFrom(bodies), rapid.SliceOf(rapid.Byte()))
		want := rapid.SliceOfN(rapid.SliceOfN(body, 0, 5), 1, 4).Draw(t, "partitions")
		name := rapid.SampledFrom([]string{"x.gz", "x.zst", "x.jsonl", "x"}).Draw(t, "name")
		got, err := read(write(t, name, want))
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		for p := range want {
			if len(got[p]) != len(want[p]) {
				t.Fatalf("partition %d has %d events, want %d", p, len(got[p]), len(want[p]))
			}
			for i := range want[p] {
				if !bytes.Equal(got[p][i], want[p][i]) {
					t.Fatalf("%q, want %q", got[p][i], want[p][i])
				}
			}
		}
	})
}

// Every truncation and every changed byte is detected.
func TestDamageIsFound(t *testing.T) {
	for _, name := range []string{"x.jsonl", "x.gz", "x.zst"} {
		file := write(t, name, [][][]byte{bodies[:4], {}, bodies[4:]})
		for n := range len(file) - 1 { // without its last newline it is still complete
			if _, err := read(file[:n]); err == nil || errors.Is(err, io.EOF) {
				t.Fatalf("%s: cut to %d of %d bytes: %v", name, n, len(file), err)
			}
		}
		if name != "x.jsonl" {
			continue // a changed byte of the gzip header may have no effect
		}
		for i := range file {
			bad := bytes.Clone(file)
			bad[i] ^= 1
			if _, err := read(bad); err == nil || errors.Is(err, io.EOF) {
				t.Fatalf("%s: byte %d, %q, changed to %q: %v", name, i, file[i], bad[i], err)
			}
		}
	}
}
