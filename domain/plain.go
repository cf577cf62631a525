package domain

// PlainObject reads the simplest form of a JSON body fast: an object whose
// members are all strings of printable ASCII without escapes. It calls take for
// each member. It reports false, possibly after some calls, if the body has
// another form or take returns false; the caller then decodes the body with the
// library. Decoding is the larger part of the time of a small query.
func PlainObject(body []byte, take func(name, value []byte) bool) bool {
	i, ok := expect(body, 0, '{')
	if !ok {
		return false
	}
	if end, empty := expect(body, i, '}'); empty {
		return space(body, end) == len(body)
	}
	for {
		var name, value []byte
		if name, i, ok = plainString(body, i); !ok {
			return false
		}
		if i, ok = expect(body, i, ':'); !ok {
			return false
		}
		if value, i, ok = plainString(body, i); !ok || !take(name, value) {
			return false
		}
		if next, more := expect(body, i, ','); more {
			i = next
			continue
		}
		end, closed := expect(body, i, '}')
		return closed && space(body, end) == len(body)
	}
}

// plainString is the string that follows, and where it ends.
func plainString(b []byte, i int) (text []byte, end int, ok bool) {
	if i, ok = expect(b, i, '"'); !ok {
		return nil, i, false
	}
	for end = i; end < len(b); end++ {
		switch c := b[end]; {
		case c == '"':
			return b[i:end], end + 1, true
		case c < ' ' || c >= 0x7f || c == '\\':
			return nil, end, false
		}
	}
	return nil, end, false
}

// expect skips white space and one byte that must follow it.
func expect(b []byte, i int, c byte) (int, bool) {
	i = space(b, i)
	return i + 1, i < len(b) && b[i] == c
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}
