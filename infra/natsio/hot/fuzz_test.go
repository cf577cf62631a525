package hot

import "testing"

// FuzzPosition reads any position; one that is read can be written and read again.
func FuzzPosition(f *testing.F) {
	for _, text := range []string{"", "j", "j v=2 0=17", "j 0=17 1=18446744073709551615", "j v=x", "j 0=-1", "k v=2 0=1", "j =", "j v=2 v=3 0=1 0=2"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, version, err := decodePosition(text, 0, "j")
		if err != nil {
			return
		}
		if again, v, err := decodePosition(encodePosition("j", version, []uint64{at}), 0, "j"); err != nil || again != at || v != version {
			t.Errorf("%q: %d v%d, then %d v%d, %v", text, at, version, again, v, err)
		}
	})
}
