package console

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/tidemark-engine/tidemark/client"
)

func status(e *client.Error) string { return strconv.Itoa(e.Status) + " " + http.StatusText(e.Status) }

// count is a number with a thin space between thousands.
func count(n uint64) string {
	return strings.ReplaceAll(humanize.Comma(int64(min(n, 1<<62))), ",", "\u202f") //nolint:gosec // bounded
}

func bytesText(n uint64) string { return humanize.IBytes(n) }

// perSecond is a rate for people.
func perSecond(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return count(uint64(v + 0.5))
}

// short is a duration for people.
func short(d time.Duration) string {
	switch {
	case d <= 0:
		return "–"
	case d < time.Millisecond:
		return strconv.FormatInt(d.Microseconds(), 10) + " µs"
	case d < 10*time.Millisecond:
		return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64) + " ms"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + " d"
}

// ago is the age of a time.
func ago(now, at time.Time) string {
	switch d := now.Sub(at); {
	case at.IsZero():
		return "–"
	case d < 2*time.Second:
		return "now"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s ago"
	default:
		return short(d) + " ago"
	}
}

// clock is a time as it is stored, in UTC.
func clock(at time.Time) string {
	if at.IsZero() {
		return "–"
	}
	return at.UTC().Format("2006-01-02 15:04:05.000")
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

func text(n uint64) string { return strconv.FormatUint(n, 10) }
