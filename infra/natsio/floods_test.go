package natsio

import (
	"testing"
	"time"
)

// Who floods again is disconnected after an eighth, for a minute and whatever connection it
// has then; others are not.
func TestWhoFloodsAgainIsDisconnectedSooner(t *testing.T) {
	var f Floods
	now := time.Now()
	// after is how many refused requests of 200 kB a new connection has sent when it floods.
	connection := uint64(0)
	after := func(origin string) (n int) {
		connection++
		for n = 1; !f.Refused(connection, origin, 200<<10, now); n++ {
			if now = now.Add(time.Millisecond); n > 10*floodRequests {
				t.Fatal("it never floods")
			}
		}
		return n
	}
	if n := after("A@host"); n != floodRequests+1 {
		t.Errorf("first disconnected after %d", n)
	}
	for range floodRequests { // what it had sent before
		if f.Refused(connection, "A@host", 200<<10, now) {
			t.Fatal("a connection that has ended is disconnected again")
		}
	}
	if n := after("A@host"); n != floodRequests/floodAgain+1 {
		t.Errorf("then disconnected after %d", n)
	}
	if n := after("B@host"); n != floodRequests+1 {
		t.Errorf("another account is disconnected after %d", n)
	}
	now = now.Add(floodMemory)
	if n := after("A@host"); n != floodRequests+1 {
		t.Errorf("later disconnected after %d", n)
	}
	for range 10 * floodRequests { // as slowly as the refusals say
		if now = now.Add(floodTime / 5); f.Refused(0, "C@host", 200<<10, now) {
			t.Fatal("a slow client is disconnected")
		}
	}
	for range maxFloods + 1 {
		connection++
		f.Refused(connection, "D@host", 1, now)
	}
	if len(f.of) > maxFloods {
		t.Errorf("%d connections are remembered", len(f.of))
	}
}
