package client

import "testing"

func TestJoin(t *testing.T) {
	for _, c := range []struct{ old, token, want string }{
		{"", "j.0-5", "j.0-5"},
		{"j.0-5", "j.0-3", "j.0-5"},
		{"j.0-5", "j.0-12", "j.0-12"},
		{"j.0-5.2-7", "j.1-1.2-6", "j.0-5.1-1.2-7"},
		{"j.0-5", "k.0-1", "k.0-1"},
	} {
		if got := join(c.old, c.token); got != c.want {
			t.Errorf("%q and %q are %q, want %q", c.old, c.token, got, c.want)
		}
	}
}
