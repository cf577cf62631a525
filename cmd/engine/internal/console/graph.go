package console

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The size of graphs in their own units: the style scales them.
const (
	graphWidth  = 720
	graphHeight = 120
	sparkWidth  = 160
	sparkHeight = 28
)

// seriesTime is the time that a graph shows.
const seriesTime = time.Hour

// viewsIn are the views of the samples, in the order of their names.
func viewsIn(samples []Sample) []string {
	seen := map[string]bool{}
	for _, s := range samples {
		for name := range s.Lag {
			seen[name] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// series is the colour class of a view in graphs.
func series(samples []Sample, view string) string {
	return "s" + strconv.Itoa(slices.Index(viewsIn(samples), view)%7)
}

// highestLag is the largest lag of the samples.
func highestLag(samples []Sample) (highest uint64) {
	for _, s := range samples {
		for _, lag := range s.Lag {
			highest = max(highest, lag)
		}
	}
	return highest
}

// lagLine are the points of a view's line. Of the samples of one place the highest counts, so
// that a short peak is seen.
func lagLine(samples []Sample, view string, now time.Time) string {
	highest := float64(max(highestLag(samples), 10))
	return line(samples, now, graphWidth, graphHeight, func(s Sample) float64 { return float64(s.Lag[view]) / highest })
}

// line are the points of a polyline; of is from 0 to 1.
func line(samples []Sample, now time.Time, width, height float64, of func(Sample) float64) string {
	var b strings.Builder
	column, top := -1, 0.0
	point := func() {
		if column < 0 {
			return
		}
		b.WriteString(strconv.Itoa(column))
		b.WriteByte(',')
		b.WriteString(strconv.FormatFloat((height-2)*(1-top)+1, 'f', 1, 64))
		b.WriteByte(' ')
	}
	for _, s := range samples {
		x := int(width * (1 - now.Sub(s.At).Seconds()/seriesTime.Seconds()))
		if x < 0 {
			continue
		}
		if x != column {
			point()
			column, top = x, 0
		}
		top = max(top, min(max(of(s), 0), 1))
	}
	point()
	return strings.TrimSuffix(b.String(), " ")
}

// sparkLine is the line of a small graph, scaled to its highest value.
func sparkLine(samples []Sample, of func(Sample) float64) string {
	if len(samples) == 0 {
		return ""
	}
	highest := 0.0
	for _, s := range samples {
		highest = max(highest, of(s))
	}
	if highest == 0 {
		highest = 1
	}
	return line(samples, samples[len(samples)-1].At, sparkWidth, sparkHeight, func(s Sample) float64 { return of(s) / highest })
}
