package reminder

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the same time zones on every machine that has none of its own

	"github.com/robfig/cron/v3"
)

// schedule yields the due times of a reminder.
type schedule struct {
	every time.Duration // 0 = not periodic
	cron  cron.Schedule // nil = no cron expression
	zone  *time.Location
	until time.Time // the last moment of a due time; zero = none
}

// lastTime is the latest time that RFC 3339 can express.
var lastTime = time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)

// after is the first due time after t; of a period, t is one of its due times. Zero =
// there is none.
func (s *schedule) after(t time.Time) (next time.Time) {
	switch {
	case s.every > 0:
		next = t.Add(s.every)
	case s.cron != nil:
		next = s.cronAfter(t)
	}
	if next.After(lastTime) || !s.until.IsZero() && next.After(s.until) {
		return time.Time{}
	}
	return next
}

// maxCounted bounds the due times of a cron expression that one decision counts: more
// than nine years of minutes.
const maxCounted = 5_000_000

// upTo counts the due times from first, which is one, to end, and returns the last of them.
func (s *schedule) upTo(first, end time.Time) (n int, last time.Time) {
	if first.After(end) {
		return 0, time.Time{}
	}
	if s.every > 0 {
		if !s.until.IsZero() && end.After(s.until) {
			end = s.until
		}
		steps := end.Sub(first) / s.every
		return int(steps) + 1, first.Add(steps * s.every)
	}
	for next := first; !next.IsZero() && !next.After(end) && n < maxCounted; next = s.after(next) {
		n, last = n+1, next
	}
	return n, last
}

// nth is the due time n after first, which is one.
func (s *schedule) nth(first time.Time, n int) time.Time {
	if s.every > 0 {
		return first.Add(time.Duration(n) * s.every)
	}
	for range n {
		first = s.after(first)
	}
	return first
}

var fields = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// maxCron is the longest cron expression in bytes.
const maxCron = 256

// ParseCron reads five fields. Sunday is 0 or 7.
func ParseCron(text string) (cron.Schedule, error) {
	parts := strings.Fields(text)
	if len(parts) != 5 || len(text) > maxCron { // a time zone before the fields would be a sixth
		return nil, fmt.Errorf("it has %d fields, five are needed: minute, hour, day of the month, month, day of the week", len(parts))
	}
	if strings.Contains(parts[0], "=") {
		return nil, fmt.Errorf("the time zone goes into timezone")
	}
	for _, part := range parts {
		if strings.Contains(","+part+",", ",,") {
			return nil, fmt.Errorf("%q has an empty item", part)
		}
	}
	days := strings.Split(parts[4], ",")
	for i, day := range days {
		days[i] = withoutSeven(day)
	}
	parts[4] = strings.Join(days, ",")
	return fields.Parse(strings.Join(parts, " "))
}

// withoutSeven is an item of the days of the week without 7, which is Sunday like 0.
func withoutSeven(day string) string {
	if day == "7" {
		return "0"
	}
	days, step, stepped := strings.Cut(day, "/")
	from, ranged := strings.CutSuffix(days, "-7")
	if !ranged {
		return day
	}
	if !stepped {
		return from + "-6,0"
	}
	first, err := strconv.Atoi(from)
	by, stepErr := strconv.Atoi(step)
	if err != nil || stepErr != nil || first < 0 || first > 7 || by < 1 {
		return day // the parser refuses it
	}
	var each []string
	for ; first <= 7; first += min(by, 8) { // no sum overflows
		each = append(each, strconv.Itoa(first%7))
	}
	return strings.Join(each, ",")
}

// LoadZone returns an IANA time zone; empty = UTC.
func LoadZone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, fmt.Errorf("%q names no place", name)
	}
	return time.LoadLocation(name)
}

// searches is how often the cron library is asked, which looks five years ahead: a 29th
// of February may be eight years away.
const searches = 3

// cronAfter is the first instant after t at which the clock of the zone shows a time of
// the expression. The expression is followed on the clock's face, as if no clock were
// ever changed, so that every time of it comes once.
func (s *schedule) cronAfter(t time.Time) time.Time {
	shown := face(t.In(s.zone))
	for misses := 0; misses < searches; {
		next := s.cron.Next(shown)
		if next.IsZero() {
			shown, misses = shown.AddDate(5, 0, 0), misses+1
			continue
		}
		if at := instant(next, s.zone); at.After(t) {
			return at.UTC()
		}
		shown = next
	}
	return time.Time{}
}

// face is what a clock shows at t, as a time in UTC.
func face(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// instant is when the clock of a zone shows a face: the first time where it does so
// twice, and the moment of the change where it skips the face. A later face never comes
// before an earlier one.
func instant(shown time.Time, zone *time.Location) time.Time {
	t := time.Date(shown.Year(), shown.Month(), shown.Day(), shown.Hour(), shown.Minute(), shown.Second(), 0, zone)
	start, end := t.ZoneBounds()
	switch got := face(t); {
	case got.After(shown):
		return start
	case got.Before(shown):
		return end
	case start.IsZero():
		return t
	}
	before := start.Add(-1)
	_, offset := before.Zone()
	if first := shown.Add(-time.Duration(offset) * time.Second); first.Before(start) {
		return first
	}
	return t
}
