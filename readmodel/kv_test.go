package readmodel

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

var kept = Entry{
	Agent: "a1", Value: []byte(`{ "z" : 1.50,"a":[12345678901234567890,"\u0041"] }`),
	Timestamp: time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC), Version: 7, Revision: 18446744073709551615, Digest: "d1",
}

// The value is that of the contract, section 4: StateEntry with revision and digest.
func TestKVValueIsTheContracts(t *testing.T) {
	want := `{"value":{ "z" : 1.50,"a":[12345678901234567890,"\u0041"] },"timestamp":"2026-01-02T03:04:05.123456789Z",` +
		`"agent_id":"a1","version":7,"revision":18446744073709551615,"digest":"d1"}`
	e := kept
	e.Key, e.Writer, e.UpdatedAt = "k", "w", time.Now() // are not kept
	if got := string(e.EncodeKV()); got != want || !json.Valid([]byte(got)) {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got, err := DecodeKV([]byte(want)); err != nil || !reflect.DeepEqual(got, kept) {
		t.Errorf("read as %+v, %v", got, err)
	}
}

func TestDecodeKVRefuses(t *testing.T) {
	for _, bad := range []string{
		``, `x`, `{}`, `[]`, `null`, `"v"`, `{"value":1}`, `{"revision":1}`, `{"value":1,"revision":0}`, `{"value":1,"revision":-1}`,
		`{"value":1,"revision":"1"}`, `{"value":1,"revision":1,"timestamp":"yesterday"}`, `{"value":1,"revision":1`,
		`{"value":1,"value":2,"revision":1}`, "{\"value\":\"\xff\",\"revision\":1}",
	} {
		if e, err := DecodeKV([]byte(bad)); err == nil {
			t.Errorf("%q is %+v", bad, e)
		}
	}
}

func FuzzDecodeKV(f *testing.F) {
	f.Add(kept.EncodeKV())
	for _, s := range []string{
		`{"value":null,"revision":1}`, `{"value":1,"revision":1,"timestamp":"2026-01-02T03:04:05+01:00"}`, `{"value":"\u0000","revision":1}`,
		`{}`, `null`, `{"value": [ 1.0 ] ,"revision":1,"other":2}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := DecodeKV(body)
		if err != nil || e.Timestamp.Year() < 1 || e.Timestamp.Year() > 9999 {
			return
		}
		again, err := DecodeKV(e.EncodeKV())
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Errorf("%q is %+v, written and read again %+v, %v", body, e, again, err)
		}
	})
}
