package domain

import (
	"sort"
	"strconv"
	"strings"
)

// Token is a read position: the revisions of some partitions of one journal that
// a read must have reached. Its text is opaque to clients.
type Token struct {
	Journal   string // short form of the journal's incarnation
	Positions map[int]uint64
}

// TokenAt is the token of one event.
func TokenAt(journal string, partition int, revision uint64) Token {
	return Token{Journal: journal, Positions: map[int]uint64{partition: revision}}
}

// String is the token as clients send it: the journal, then "partition-revision" for each
// partition, in order, each after a dot.
func (t Token) String() string {
	parts := make([]int, 0, len(t.Positions))
	for p := range t.Positions {
		parts = append(parts, p)
	}
	sort.Ints(parts)
	b := append(make([]byte, 0, 32), t.Journal...)
	for _, p := range parts {
		b = append(b, '.')
		b = strconv.AppendInt(b, int64(p), 10)
		b = append(b, '-')
		b = strconv.AppendUint(b, t.Positions[p], 10)
	}
	return string(b)
}

// ParseToken parses the text of a token. It fails with 400 token.invalid if it is
// not one and with 400 token.foreign if it is of another journal, whose position
// this journal never reaches.
func ParseToken(text, journal string, partitions int) (Token, error) {
	parts := strings.Split(text, ".")
	t := Token{Journal: parts[0], Positions: make(map[int]uint64, len(parts)-1)}
	for _, part := range parts[1:] {
		p, rev, ok := strings.Cut(part, "-")
		n, err1 := strconv.Atoi(p)
		r, err2 := strconv.ParseUint(rev, 10, 64)
		if !ok || err1 != nil || err2 != nil || n < 0 || n >= partitions {
			return Token{}, Errorf(Invalid, "token.invalid", "%.64q is not a read token", text)
		}
		t.Positions[n] = r
	}
	// The one spelling: no signs, leading zeros or repeated partitions.
	if len(parts) < 2 || t.Journal == "" || t.String() != text {
		return Token{}, Errorf(Invalid, "token.invalid", "%.64q is not a read token", text)
	}
	if t.Journal != journal {
		return Token{}, Errorf(Invalid, "token.foreign", "the token is of another journal (%.16q)", t.Journal)
	}
	return t, nil
}
