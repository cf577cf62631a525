package events_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/events"
)

// usual is the event of a write of 256 bytes.
func usual() events.Event {
	at := time.Date(2026, 6, 7, 12, 0, 0, 123456789, time.UTC)
	write := events.StateWrite{
		Value: []byte(`"` + strings.Repeat("v", 254) + `"`), Strategy: "timestamp", Request: strings.Repeat("0f", 16),
	}
	return events.Event{
		Type: events.StateSet, Aggregate: "agent", ID: "agent-17", Key: "mood.today", Version: 42,
		Timestamp: at, RecordedAt: at, CommandID: "01JZZZZZZZZZZZZZZZZZZZZZZZ", Data: write.Encode(),
		Digest: strings.Repeat("ab", 32), Schema: events.Schema,
	}
}

func BenchmarkEncode(b *testing.B) {
	ev := usual()
	b.ReportAllocs()
	for b.Loop() {
		ev.Encode()
	}
}

func BenchmarkDecode(b *testing.B) {
	ev := usual()
	body := ev.Encode()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := events.Decode(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeStateWrite(b *testing.B) {
	ev := usual()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := events.DecodeStateWrite(ev.Data); err != nil {
			b.Fatal(err)
		}
	}
}

// The canonical form and its digest.
func BenchmarkChain(b *testing.B) {
	ev := usual()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := events.Chain(ev.Digest, &ev); err != nil {
			b.Fatal(err)
		}
	}
}
