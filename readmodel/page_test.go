package readmodel

import "testing"

func TestPageRoom(t *testing.T) {
	for _, c := range []struct{ values, rows int }{{0, 1024 + 1}, {PageBytes, 2}, {10 * PageBytes, 2}, {PageBytes/2 - RowRoom, 3}, {100_000, 8}} {
		var p PageRoom
		n := 1
		for ; !p.Add(c.values); n++ {
		}
		if n != c.rows {
			t.Errorf("rows of %d bytes: the page is full with the %d., want the %d.", c.values, n, c.rows)
		}
	}
}
