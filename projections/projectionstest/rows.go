package projectionstest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-engine/tidemark/readmodel"
)

func (v *view) applied(t *testing.T) {
	v.load(t, 0)
	v.apply(t, 0, 2, set("k", 1), set("l", 2))
	v.check(t)
	v.apply(t, 2, 3, set("k", 3))
	v.apply(t, 3, 9) // events that change no row
	v.apply(t, 9, 12, del("l", 10), set("m.n=/", 12))
	v.check(t)
	v.apply(t, 12, 14, set("l", 13))
	v.check(t)
}

func (v *view) deleted(t *testing.T) {
	v.load(t, 0)
	v.apply(t, 0, 1, del("never", 1))
	v.apply(t, 1, 2, set("k", 2))
	v.apply(t, 2, 3, del("k", 3))
	v.check(t)
	v.apply(t, 3, 4, del("k", 4))
	v.check(t)
	v.apply(t, 4, 6, set("k", 5), set("never", 6))
	v.check(t)
	v.apply(t, 6, 8, del("k", 7), del("never", 8))
	v.start(t)
	v.load(t, 0)
	v.check(t)
}

func (v *view) large(t *testing.T) {
	v.load(t, 0)
	const n = 2300 // more than any request of an adapter takes
	var first, second []readmodel.EntryChange
	for i := range uint64(n) {
		first = append(first, set(fmt.Sprintf("k%04d", i), i+1))
		if i%3 == 0 {
			second = append(second, del(fmt.Sprintf("k%04d", i), n+i+1))
		} else {
			second = append(second, set(fmt.Sprintf("k%04d", i), n+i+1))
		}
	}
	v.apply(t, 0, n, first...)
	v.start(t) // the new target has no cached rows
	v.load(t, 0)
	v.apply(t, n, 2*n, second...)
	v.check(t)
}

func (v *view) exact(t *testing.T) {
	v.load(t, 0)
	values := []string{
		`null`, `true`, `0`, `-0`, `1.50`, `1E+2`, `1e308`, `-1e-308`, `9e308`, `12345678901234567890`, strings.Repeat("9", 40), `""`,
		`"\u0041\/\ud83d\ude00é😀"`, "\"\u2028\x7f\u0080\uffff\"", `"\\u0000 '; DROP TABLE agents.state; --"`, `[]`, `{}`, `[ ]`,
		`{ "b" : 1.50,` + "\r\n\t" + `"a":[ 1 , 2 ],"":{"":null} }`, `{"a":1,"A":2,"\u0062":3}`,
		strings.Repeat("[", 64) + strings.Repeat("]", 64), strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 64),
		`"` + strings.Repeat("v", 256<<10-2) + `"`, "[" + strings.Repeat("1e308,", 30_000) + "0]",
	}
	var batch []readmodel.EntryChange
	for i, value := range values {
		c := set(fmt.Sprintf("v%02d", i), uint64(i+1))
		c.Value = []byte(value)
		batch = append(batch, c)
	}
	for i, ts := range []time.Time{
		time.Time{}.Add(1), time.Unix(0, 0).UTC(), time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
		time.Date(1969, 12, 31, 23, 59, 59, 999999001, time.UTC), time.Date(1999, 12, 31, 23, 59, 59, 999, time.UTC),
	} {
		c := set(fmt.Sprintf("w%02d", i), uint64(len(values)+i+1))
		c.Timestamp = ts
		batch = append(batch, c)
	}
	c := set(strings.Repeat("x", 255), 99)
	c.Agent, c.Writer, c.Version = strings.Repeat("y", 128), "w \" \\ \n é '; --", 1<<62
	batch = append(batch, c)
	v.apply(t, 0, 99, batch...)
	v.check(t)
}
