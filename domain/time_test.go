package domain_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
)

var goodTimes = map[string]time.Time{
	"2026-06-07T12:00:05Z":                time.Date(2026, 6, 7, 12, 0, 5, 0, time.UTC),
	"2026-06-07T12:00:05.1Z":              time.Date(2026, 6, 7, 12, 0, 5, 1e8, time.UTC),
	"2026-06-07T12:00:05.123456789Z":      time.Date(2026, 6, 7, 12, 0, 5, 123456789, time.UTC),
	"2026-06-07T14:00:00+02:00":           time.Date(2026, 6, 7, 12, 0, 0, 0, time.UTC),
	"2026-06-07T12:00:00-00:00":           time.Date(2026, 6, 7, 12, 0, 0, 0, time.UTC),
	"2024-02-29T23:59:59.999999999-23:59": time.Date(2024, 3, 1, 23, 58, 59, 999999999, time.UTC),
	"0001-01-01T00:00:00Z":                {},
	"0001-01-01T00:00:00.000000001Z":      time.Time{}.Add(1),
	"2262-04-12T00:00:00Z":                time.Date(2262, 4, 12, 0, 0, 0, 0, time.UTC),
	"9999-12-31T23:59:59.999999999Z":      time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
	"9999-12-31T23:59:59+01:00":           time.Date(9999, 12, 31, 22, 59, 59, 0, time.UTC),
}

var badTimes = []string{
	"", "now", "2026", "2026-06-07", "12:00:00Z", "2026-06-07 12:00:00Z", "2026-06-07t12:00:00Z", "2026-06-07T12:00:00z",
	"2026-06-07T12:00:00", "2026-06-07T12:00Z", "2026-06-07T12:00:00.Z", "2026-06-07T12:00:00,5Z", "2026-06-07T12:00:00.1234567890Z",
	"2026-06-07T1:00:00Z", "2026-6-07T12:00:00Z", "2026-06-7T12:00:00Z", "2026-06-07T12:0:00Z", "2026-06-07T12:00:0Z",
	"2026-06-31T12:00:00Z", "2025-02-29T12:00:00Z", "2026-13-01T12:00:00Z", "2026-00-01T12:00:00Z", "2026-06-00T12:00:00Z",
	"2026-06-07T24:00:00Z", "2026-06-07T12:60:00Z", "2026-06-07T12:00:60Z", "2026-06-07T12:00:61Z",
	"2026-06-07T12:00:00+24:00", "2026-06-07T12:00:00-24:00", "2026-06-07T12:00:00+23:60", "2026-06-07T12:00:00+99:99",
	"2026-06-07T12:00:00+0100", "2026-06-07T12:00:00+1:00", "2026-06-07T12:00:00+01", "2026-06-07T12:00:00 UTC", "2026-06-07T12:00:00+01:00:00",
	"-2026-06-07T12:00:00Z", "+2026-06-07T12:00:00Z", "02026-06-07T12:00:00Z", "10000-01-01T00:00:00Z",
	"9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59.999999999-23:59", "0000-06-07T12:00:00Z", "0001-01-01T00:00:00+01:00",
	"1780833600", " 2026-06-07T11:00:00Z", "2026-06-07T11:00:00Z ", "2026-06-07T11:00:00Zz", "2026-06-07T11:00:00Z\x00",
	"２０２６-06-07T11:00:00Z", strings.Repeat("2", 10_000),
}

func TestTimes(t *testing.T) {
	for text, want := range goodTimes {
		if got, err := domain.ParseTime("deadline", text); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range badTimes {
		_, err := domain.ParseTime("deadline", text)
		refused(t, err, "timestamp.invalid", "deadline")
	}
}

func FuzzParseTime(f *testing.F) {
	for text := range goodTimes {
		f.Add(text)
	}
	for _, text := range badTimes {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := domain.ParseTime("time", text)
		if err != nil {
			refused(t, err, "timestamp.invalid", "")
			return
		}
		if body, err := json.Marshal(got); err != nil {
			t.Errorf("%q is %s, which is not written: %s, %v", text, got, body, err)
		}
		again, err := domain.ParseTime("time", got.Format(time.RFC3339Nano))
		if err != nil || again != got {
			t.Errorf("%q is %s, written and read again %s, %v", text, got, again, err)
		}
	})
}
