package declared

import (
	"strconv"
	"strings"
)

// decimal is a number as digits without zeros at either end, times ten to an exponent. Equal
// numbers are equal decimals.
type decimal struct {
	negative bool
	digits   string // empty = 0
	exponent int
}

// parseDecimal reads a JSON number.
func parseDecimal(text string) decimal {
	var d decimal
	text, d.negative = strings.CutPrefix(text, "-")
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		d.exponent, _ = strconv.Atoi(strings.TrimPrefix(text[i+1:], "+"))
		text = text[:i]
	}
	whole, fraction, _ := strings.Cut(text, ".")
	d.exponent -= len(fraction)
	d.digits = strings.TrimLeft(whole+fraction, "0")
	trimmed := strings.TrimRight(d.digits, "0")
	d.exponent += len(d.digits) - len(trimmed)
	if d.digits = trimmed; trimmed == "" {
		return decimal{}
	}
	return d
}

// plain is the number without an exponent.
func (d decimal) plain() string {
	s := d.digits
	switch {
	case s == "":
		return "0"
	case d.exponent >= 0:
		s += strings.Repeat("0", d.exponent)
	case -d.exponent < len(s):
		s = s[:len(s)+d.exponent] + "." + s[len(s)+d.exponent:]
	default:
		s = "0." + strings.Repeat("0", -d.exponent-len(s)) + s
	}
	if d.negative {
		s = "-" + s
	}
	return s
}
