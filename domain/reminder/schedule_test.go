package reminder

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestCronAndTheChangeOfClocks: against every minute around a change of the clocks, a
// time that the clock shows twice comes once, at the first, and a time that it skips
// comes once, at the change.
func TestCronAndTheChangeOfClocks(t *testing.T) {
	changes := []struct {
		zone string
		day  time.Time
	}{
		{"Europe/Berlin", date(2026, 3, 29)}, {"Europe/Berlin", date(2026, 10, 25)}, {"America/New_York", date(2026, 3, 8)}, {"America/New_York", date(2026, 11, 1)},
		{"Australia/Lord_Howe", date(2026, 4, 4)}, {"Australia/Lord_Howe", date(2026, 10, 3)}, {"America/Santiago", date(2026, 9, 6)}, {"Asia/Beirut", date(2026, 3, 29)},
		{"Pacific/Apia", date(2011, 12, 30)}, {"Asia/Kathmandu", date(1986, 1, 1)}, {"UTC", date(2026, 1, 1)},
	}
	rapid.Check(t, func(t *rapid.T) {
		change := rapid.SampledFrom(changes).Draw(t, "change")
		text := rapid.SampledFrom([]string{"* * * * *", "*/10 * * * *", "0 * * * *", "30 2 * * *", "30 1 * * *", "0 0 * * *", "15 0-4 * * *", "*/7 1,2,3 * * *", "59 23 * * *", "30 2 * * 7", "45 1 29 * *"}).Draw(t, "cron")
		expression, err := ParseCron(text)
		if err != nil {
			t.Fatal(err)
		}
		zone, err := LoadZone(change.zone)
		if err != nil {
			t.Fatal(err)
		}
		from, to := change.day.Add(-36*time.Hour), change.day.Add(60*time.Hour)
		shown := map[time.Time]time.Time{} // the first instant of each face
		var order []time.Time              // instants
		for at := from; at.Before(to); at = at.Add(time.Minute) {
			if f := face(at.In(zone)); shown[f].IsZero() {
				shown[f] = at
			}
			order = append(order, at)
		}
		var want []time.Time
		for f := expression.Next(face(from.In(zone)).Add(-time.Second)); f.Before(face(to.In(zone))); f = expression.Next(f) {
			at := shown[f]
			if at.IsZero() { // skipped: when the clock first shows more
				i := slices.IndexFunc(order, func(at time.Time) bool { return face(at.In(zone)).After(f) })
				at = order[i]
			}
			want = append(want, at)
		}
		slices.SortFunc(want, time.Time.Compare)
		want = slices.CompactFunc(want, time.Time.Equal)
		s := schedule{cron: expression, zone: zone}
		start := from.Add(time.Duration(rapid.IntRange(0, 90*60).Draw(t, "start")) * time.Minute)
		for at := start; len(want) > 0; want = want[1:] {
			if !want[0].After(at) {
				continue
			}
			next := s.after(at)
			if !next.Equal(want[0]) {
				t.Fatalf("%s in %s after %s: %s, want %s", text, change.zone, at, next, want[0])
			}
			at = next
		}
	})
}

func date(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

func TestCron(t *testing.T) {
	for text, want := range map[string]string{
		"0 9 * * 1-5": "2026-01-02T09:00:00Z", "0 0 29 2 *": "2028-02-29T00:00:00Z", "0 0 * * 7": "2026-01-04T00:00:00Z", "0 0 * * SUN": "2026-01-04T00:00:00Z",
		"0 0 * * 5-7": "2026-01-02T00:00:00Z", "30 4 1 JAN,JUL *": "2026-07-01T04:30:00Z", "0 0 13 * 5": "2026-01-02T00:00:00Z", "0  0\t1 * *": "2026-02-01T00:00:00Z", "0 0 30 2 *": "",
		"0 0 * * 1-7/3": "2026-01-04T00:00:00Z", "0 0 * * 2-7/2": "2026-01-03T00:00:00Z", "0 0 * * 6-7": "2026-01-03T00:00:00Z",
		"0 0 * * 5-7/9223372036854775807": "2026-01-02T00:00:00Z",
	} {
		c, err := ParseCron(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		got := ""
		if next := (&schedule{cron: c, zone: time.UTC}).after(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)); !next.IsZero() {
			got = next.Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	c, _ := ParseCron("0 0 29 2 *")
	if next := (&schedule{cron: c, zone: time.UTC}).after(date(2096, 3, 1)); !next.Equal(date(2104, 2, 29)) {
		t.Errorf("over a century without a leap day: %s", next)
	}
	for _, text := range []string{
		"", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "TZ=UTC 0 0 * *", "CRON_TZ=UTC * * * * *", "TZ=", "@daily", "@every 1s", "a b c d e",
		"*/0 * * * *", "5-1 * * * *", "* * * * 7-8", "* * * * 8-7/1", "* * * * 1-7/0", "* * * * MON-7/2", "-1 * * * *", "1,,2 * * * *",
	} {
		if _, err := ParseCron(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	for _, name := range []string{"Local", "Mars/Olympus", "../etc/passwd", "Europe/berlin ", "+01:00"} {
		if _, err := LoadZone(name); err == nil {
			t.Errorf("the zone %q is taken", name)
		}
	}
}

func FuzzParseCron(f *testing.F) {
	for _, text := range []string{"* * * * *", "0 9 * * 1-5", "TZ= 1 2 3 4", "*/5 0-3,7 1 JAN 5-7", "? ? ? ? ?"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCron(text)
		if err != nil {
			return
		}
		now := date(2026, 1, 1)
		if next := (&schedule{cron: c, zone: time.UTC}).after(now); !next.IsZero() && !next.After(now) {
			t.Errorf("%q after %s: %s", text, now, next)
		}
	})
}
