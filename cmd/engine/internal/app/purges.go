package app

import "sync"

// purges informs components that another program has removed messages of a stream. There is
// one subscription for all: the server reports every request to its API.
type purges struct {
	mu    sync.Mutex
	heard []func(stream, connection string)
}

func (p *purges) add(f func(stream, connection string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = append(p.heard, f)
}

func (p *purges) call(stream, connection string) {
	p.mu.Lock()
	all := p.heard
	p.mu.Unlock()
	for _, f := range all {
		f(stream, connection)
	}
}
