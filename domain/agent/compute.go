package agent

import (
	"bytes"
	"fmt"
	"math/big"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
)

// Computation computes the value of an entry from its current value.
type Computation interface {
	Verb() string
	// apply returns the new value. current is nil if the entry does not exist;
	// operand is the value that the command carries.
	apply(current, operand []byte) ([]byte, *domain.Error)
}

// Merge applies a JSON merge patch (RFC 7396). What it does not change stays byte for
// byte, in its order; new members follow. 422 state.not_object.
type Merge struct{}

// Add adds a number exactly. Min and Max are the bounds of the sum, as JSON; empty =
// none. 422 state.not_number, state.out_of_range.
type Add struct{ Min, Max string }

// Append appends the elements of an array and keeps the last MaxItems of all; 0 =
// all. 422 state.not_array.
type Append struct{ MaxItems uint64 }

func (Merge) Verb() string  { return "merge" }
func (Add) Verb() string    { return "add" }
func (Append) Verb() string { return "append" }

func (Merge) apply(current, patch []byte) ([]byte, *domain.Error) {
	if current != nil && kind(current) != '{' {
		return nil, wrongKind("state.not_object", "an object", current)
	}
	return merge(current, patch), nil
}

// merge is MergePatch of RFC 7396, section 2, with a patch that is an object.
func merge(current, patch []byte) []byte {
	changes := map[string][]byte{}
	for _, m := range children(patch) {
		changes[m.key()] = m.value
	}
	merged := []byte{'{'}
	put := func(name, value []byte) {
		if len(merged) > 1 {
			merged = append(merged, ',')
		}
		merged = append(append(append(merged, name...), ':'), value...)
	}
	change := func(m child, old []byte) {
		switch value := changes[m.key()]; kind(value) {
		case 'n':
		case '{':
			put(m.name, merge(old, value))
		default:
			put(m.name, value)
		}
		delete(changes, m.key())
	}
	if kind(current) == '{' {
		for _, m := range children(current) {
			if _, changed := changes[m.key()]; changed {
				change(m, m.value)
			} else {
				put(m.name, m.value)
			}
		}
	}
	for _, m := range children(patch) {
		if _, left := changes[m.key()]; left {
			change(m, nil)
		}
	}
	return append(merged, '}')
}

func (a Add) apply(current, delta []byte) ([]byte, *domain.Error) {
	if current == nil {
		current = []byte{'0'}
	}
	if kind(current) != '0' {
		return nil, wrongKind("state.not_number", "a number", current)
	}
	sum := decimal(string(current))
	sum.Add(sum, decimal(string(delta)))
	text, ok := decimalText(sum)
	switch {
	case !ok:
		return nil, domain.Errorf(domain.Rejected, "state.out_of_range",
			"the sum of %s and %s has more than %d digits or an exponent beyond ±%d", current, delta, domain.MaxDigits, domain.MaxExponent)
	case a.Min != "" && sum.Cmp(decimal(a.Min)) < 0:
		return nil, domain.Errorf(domain.Rejected, "state.out_of_range", "%s + %s is %s, less than the minimum %s", current, delta, text, a.Min)
	case a.Max != "" && sum.Cmp(decimal(a.Max)) > 0:
		return nil, domain.Errorf(domain.Rejected, "state.out_of_range", "%s + %s is %s, more than the maximum %s", current, delta, text, a.Max)
	}
	return []byte(text), nil
}

// Check refuses bounds that no sum meets: 400 range.invalid.
func (a Add) Check() error {
	if a.Min == "" || a.Max == "" || decimal(a.Min).Cmp(decimal(a.Max)) <= 0 {
		return nil
	}
	return domain.Errorf(domain.Invalid, "range.invalid", "min %s is greater than max %s", a.Min, a.Max)
}

// decimal is the exact value of a JSON number, which domain.CheckJSON has bounded.
func decimal(number string) *big.Rat {
	r, _ := new(big.Rat).SetString(number)
	return r
}

// decimalText is the shortest plain form of a sum of decimals, or, with more than
// domain.MaxDigits digits, the scientific one; false if that is not accepted either.
func decimalText(r *big.Rat) (string, bool) {
	places, _ := r.FloatPrec()
	plain := r.FloatString(places)
	sign := plain[:len(plain)-len(strings.TrimPrefix(plain, "-"))]
	whole, fraction, _ := strings.Cut(plain[len(sign):], ".")
	all := whole + fraction
	if len(all) <= domain.MaxDigits {
		return plain, true
	}
	digits := strings.TrimLeft(all, "0")
	exponent := len(whole) - 1 - (len(all) - len(digits))
	digits = strings.TrimRight(digits, "0")
	if len(digits) > domain.MaxDigits || exponent > domain.MaxExponent || exponent < -domain.MaxExponent {
		return "", false
	}
	point := ""
	if len(digits) > 1 {
		point = "."
	}
	return fmt.Sprintf("%s%s%s%se%+d", sign, digits[:1], point, digits[1:], exponent), true
}

func (a Append) apply(current, items []byte) ([]byte, *domain.Error) {
	if current != nil && kind(current) != '[' {
		return nil, wrongKind("state.not_array", "an array", current)
	}
	var all [][]byte
	for _, array := range [][]byte{current, items} {
		for _, c := range children(array) {
			all = append(all, c.value)
		}
	}
	if n := uint64(len(all)); a.MaxItems > 0 && n > a.MaxItems {
		all = all[n-a.MaxItems:]
	}
	return append(append([]byte{'['}, bytes.Join(all, []byte{','})...), ']'), nil
}

func kind(value []byte) jsontext.Kind { return jsontext.Value(value).Kind() }

func wrongKind(code, want string, value []byte) *domain.Error {
	return domain.Errorf(domain.Rejected, code, "the value is not %s but %s", want, domain.KindName(kind(value)))
}

// child is a member of an object or, without a name, an element of an array. Both
// have the bytes of the value that they are in.
type child struct{ name, value []byte }

func (c child) key() string {
	text, _ := jsontext.AppendUnquote(nil, c.name)
	return string(text)
}

// children returns what is in an object or an array that was checked to be JSON, nil
// for nil.
func children(value []byte) (all []child) {
	d := jsontext.NewDecoder(bytes.NewReader(value))
	next := func() []byte {
		v, err := d.ReadValue()
		if err != nil {
			return nil
		}
		end := int(d.InputOffset())
		return value[end-len(v) : end]
	}
	named := kind(value) == '{'
	_, err := d.ReadToken()
	for err == nil && d.PeekKind() != '}' && d.PeekKind() != ']' {
		var c child
		if named {
			c.name = next()
		}
		if c.value = next(); c.value == nil {
			return all
		}
		all = append(all, c)
	}
	return all
}
