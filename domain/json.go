package domain

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds on JSON that KV and SQL store unchanged (contract, section 2;
// PostgreSQL's jsonb refuses \u0000 and expands exponents into digits).
const (
	MaxDepth    = 64
	MaxExponent = 308
	MaxDigits   = 40
)

// CheckJSON accepts exactly one JSON value that the engine can store: valid
// UTF-8, no \u0000, no lone surrogate, no duplicate member name, at most
// MaxDepth nested arrays and objects below the first level, numbers of at most
// MaxDigits digits and an exponent within ±MaxExponent. Else it fails with 400
// json.invalid; the message has the JSON pointer and the byte offset.
func CheckJSON(body []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(body))
	for first := true; ; first = false {
		tok, err := d.ReadToken()
		if errors.Is(err, io.EOF) && !first {
			return nil
		}
		if err == nil && !first && startsTopLevel(tok.Kind(), d.StackDepth()) {
			return at(d, "there is more than one JSON value")
		}
		if err != nil {
			return syntax(err)
		}
		switch tok.Kind() {
		case '{', '[':
			if d.StackDepth() > MaxDepth+1 {
				return at(d, "nested deeper than "+strconv.Itoa(MaxDepth))
			}
		case '"':
			if bytes.IndexByte([]byte(tok.String()), 0) >= 0 {
				return at(d, `\u0000 cannot be stored`)
			}
		case '0':
			if why := checkNumber(tok.String()); why != "" {
				return at(d, why)
			}
		}
	}
}

// CheckSize refuses a value of more than limit bytes: 413 value.too_large.
func CheckSize(name string, value []byte, limit int) *Error {
	if len(value) <= limit {
		return nil
	}
	return Errorf(TooLarge, "value.too_large", "%s has %d bytes, at most %d are accepted", name, len(value), limit)
}

// startsTopLevel reports whether the token just read, after which the decoder is
// at depth, started a top-level value.
func startsTopLevel(k jsontext.Kind, depth int) bool {
	switch k {
	case '{', '[':
		return depth == 1
	case '}', ']':
		return false
	}
	return depth == 0
}

func at(d *jsontext.Decoder, why string) error {
	return badJSON(why, d.StackPointer(), d.InputOffset())
}

// badJSON is 400 json.invalid; the pointer is empty where the fault is in no member.
func badJSON(why string, place jsontext.Pointer, offset int64) error {
	if place == "" {
		return Errorf(Invalid, "json.invalid", "%s (byte %d)", why, offset)
	}
	return Errorf(Invalid, "json.invalid", "%s, at %q (byte %d)", why, string(place), offset)
}

func syntax(err error) error {
	var s *jsontext.SyntacticError
	if errors.As(err, &s) {
		return badJSON(s.Err.Error(), s.JSONPointer, s.ByteOffset)
	}
	return Errorf(Invalid, "json.invalid", "not JSON: %v", err)
}

func checkNumber(n string) string {
	digits, i := 0, 0
	for ; i < len(n) && n[i] != 'e' && n[i] != 'E'; i++ {
		if n[i] >= '0' && n[i] <= '9' {
			digits++
		}
	}
	if digits > MaxDigits {
		return "a number of more than " + strconv.Itoa(MaxDigits) + " digits"
	}
	if i == len(n) {
		return ""
	}
	if e, err := strconv.Atoi(n[i+1:]); err != nil || e > MaxExponent || e < -MaxExponent {
		return "a number with an exponent beyond ±" + strconv.Itoa(MaxExponent)
	}
	return ""
}
