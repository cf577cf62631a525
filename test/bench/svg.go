package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

const (
	svgWidth, svgHeight = 720, 400
	left, right         = 70, 190
	top, bottom         = 40, 50
)

// colours can be distinguished with colour blindness (Okabe and Ito).
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"}

func (c *curve) svg() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", svgWidth, svgHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", svgWidth, svgHeight)
	fmt.Fprintf(&b, `<text x="%d" y="22" font-size="15" font-weight="bold">%s</text>`+"\n", left, html.EscapeString(c.Title))
	low, high := c.decades()
	for d := low; d <= high; d++ {
		v := math.Pow(10, float64(d))
		y := c.y(v, low, high)
		fmt.Fprintf(&b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`, left, y, svgWidth-right, y)
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", left-8, y+4, decade(v))
	}
	for i, tick := range c.Ticks {
		x := c.x(i)
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#eee"/>`, x, top, x, svgHeight-bottom)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x, svgHeight-bottom+18, html.EscapeString(tick))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (left+svgWidth-right)/2, svgHeight-12, html.EscapeString(c.X))
	fmt.Fprintf(&b, `<text x="16" y="%d" text-anchor="middle" transform="rotate(-90 16 %d)">%s</text>`+"\n",
		(top+svgHeight-bottom)/2, (top+svgHeight-bottom)/2, html.EscapeString(c.Y))
	names := c.labels(low, high)
	for i, l := range c.Lines {
		colour := colours[i%len(colours)]
		var points []string
		for j, v := range l.Y {
			if v > 0 {
				points = append(points, fmt.Sprintf("%.1f,%.1f", c.x(j), c.y(v, low, high)))
			}
		}
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>`, colour, strings.Join(points, " "))
		for _, p := range points {
			x, y, _ := strings.Cut(p, ",")
			fmt.Fprintf(&b, `<circle cx="%s" cy="%s" r="3" fill="%s"/>`, x, y, colour)
		}
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" fill="%s">%s</text>`+"\n", svgWidth-right+10, names[i]+4, colour, html.EscapeString(l.Name))
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

func (c *curve) x(i int) float64 {
	span := float64(svgWidth - left - right)
	if len(c.Ticks) == 1 {
		return left + span/2
	}
	return left + span*float64(i)/float64(len(c.Ticks)-1)
}

func (c *curve) y(v float64, low, high int) float64 {
	part := (math.Log10(v) - float64(low)) / float64(high-low)
	return float64(svgHeight-bottom) - part*float64(svgHeight-bottom-top)
}

// decades returns the exponents of the powers of ten that enclose all values.
func (c *curve) decades() (low, high int) {
	least, most := math.Inf(1), math.Inf(-1)
	for _, l := range c.Lines {
		for _, v := range l.Y {
			if v > 0 {
				least, most = min(least, math.Log10(v)), max(most, math.Log10(v))
			}
		}
	}
	if math.IsInf(least, 0) {
		return 0, 1
	}
	low, high = int(math.Floor(least)), int(math.Ceil(most))
	return low, max(high, low+1)
}

// labels returns the heights of the lines' names, moved apart where they would
// overlap.
func (c *curve) labels(low, high int) []float64 {
	at := make([]float64, len(c.Lines))
	order := make([]int, len(c.Lines))
	for i, l := range c.Lines {
		order[i], at[i] = i, float64(svgHeight-bottom)
		if n := len(l.Y); n > 0 && l.Y[n-1] > 0 {
			at[i] = c.y(l.Y[n-1], low, high)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return int(at[a] - at[b]) })
	for i := 1; i < len(order); i++ {
		at[order[i]] = max(at[order[i]], at[order[i-1]]+15)
	}
	return at
}

func decade(v float64) string {
	if v >= 1 {
		return group(fmt.Sprintf("%.0f", v))
	}
	return fmt.Sprintf("%g", v)
}
