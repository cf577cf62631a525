package domain_test

import (
	"maps"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-engine/tidemark/domain"
)

func TestTokensReadWhatTheyWrite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.MapOfN(rapid.IntRange(0, 63), rapid.Uint64(), 1, 5).Draw(t, "positions")
		want := domain.Token{Journal: rapid.StringMatching(`[0-9a-z]{8}`).Draw(t, "journal"), Positions: parts}
		got, err := domain.ParseToken(want.String(), want.Journal, 64)
		if err != nil || !maps.Equal(got.Positions, want.Positions) || got.String() != want.String() {
			t.Fatalf("%v became %v, %v", want, got, err)
		}
	})
}

func TestTokenText(t *testing.T) {
	if got := domain.TokenAt("j0urnal", 3, math.MaxUint64).String(); got != "j0urnal.3-18446744073709551615" {
		t.Error(got)
	}
	several := domain.Token{Journal: "j", Positions: map[int]uint64{10: 1, 2: 5}}
	if got := several.String(); got != "j.2-5.10-1" {
		t.Error(got)
	}
}

func TestTokensRefused(t *testing.T) {
	for _, bad := range []string{
		"", "j", ".", "j.", ".0-1", "j.0", "j.0-", "j.-1", "j.0-x", "j.x-0", "j.0-1.", "j.0-1.1", "j.4-1", "j.-0-1",
		"j.0--1", "j.0-1-2", "j.0-18446744073709551616", "j.99999999999999999999-1", "j 0-1", "j.0-1\n", "j.0-1 ",
		".+0-1", "j.+0-1", "j.0-+1", "j.00-1", "j.0-01", "j.0-1.0-2", "j.0-1.0-1", "j.1-1.0-1", "j.0-1_000", "j.٠-1",
	} {
		_, err := domain.ParseToken(bad, "j", 4)
		refused(t, err, "token.invalid", "is not a read token")
	}
	_, err := domain.ParseToken("other.0-1", "j", 4)
	refused(t, err, "token.foreign", `"other"`)
}

func FuzzParseToken(f *testing.F) {
	for _, seed := range []string{"j.0-1", "j.0-1.3-18446744073709551615", "j.0-1.0-2", "j.+0-1", "j..", "", "other.0-1", "j.0-01"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := domain.ParseToken(text, "j", 4)
		if err != nil {
			return
		}
		if got.String() != text {
			t.Errorf("%q is %v and writes %q", text, got, got.String())
		}
		for p := range got.Positions {
			if p < 0 || p > 3 {
				t.Errorf("%q names partition %d", text, p)
			}
		}
	})
}
