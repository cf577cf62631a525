package domaintest

import (
	"reflect"
	"testing"
	"time"
)

func TestDeepCopySharesNothing(t *testing.T) {
	type inner struct{ B []byte }
	type outer struct {
		P *inner
		M map[string][]int
		T time.Time
		N *int
		S []inner
	}
	was := outer{P: &inner{[]byte("a")}, M: map[string][]int{"k": {1}}, T: time.Now(), S: []inner{{[]byte("b")}}}
	got := deepCopy(was)
	if !reflect.DeepEqual(got, was) {
		t.Fatalf("%+v is not %+v", got, was)
	}
	was.P.B[0], was.M["k"][0], was.S[0].B[0] = 'x', 9, 'y'
	if got.P.B[0] != 'a' || got.M["k"][0] != 1 || got.S[0].B[0] != 'b' {
		t.Errorf("the copy changed with the original: %+v", got)
	}
}
