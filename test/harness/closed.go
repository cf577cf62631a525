package harness

// Closed returns a channel that delivers a value when c closes, for Receive.
func Closed(c <-chan struct{}) <-chan bool {
	closed := make(chan bool, 1)
	go func() { <-c; closed <- true }()
	return closed
}
