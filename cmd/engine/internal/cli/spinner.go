package cli

import (
	"context"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
)

// waiting ends the spinner that is on the terminal, or may come; nil = there is none.
var waiting atomic.Pointer[context.CancelFunc]

// Spin shows on a terminal that a command works which has printed nothing for a second. What
// the command prints on w, or a bar of its own, ends it.
func Spin(ctx context.Context, w io.Writer) (_ io.Writer, stop func()) {
	if !isTerminal(os.Stderr) {
		return w, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	end := context.CancelFunc(func() {
		cancel()
		<-done
	})
	waiting.Store(&end)
	go func() {
		defer close(done)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		bar := progressbar.NewOptions(-1, progressbar.OptionSetDescription("waiting"), progressbar.OptionSetWriter(os.Stderr),
			progressbar.OptionSpinnerType(14), progressbar.OptionSetElapsedTime(true), progressbar.OptionClearOnFinish())
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				_ = bar.Clear() // a terminal that cannot be written to shows no bar
				return
			case <-tick.C:
				_ = bar.Add(1)
			}
		}
	}()
	return spinning{w}, stopSpinning
}

func stopSpinning() {
	if end := waiting.Swap(nil); end != nil {
		(*end)()
	}
}

// spinning ends the spinner before the first output.
type spinning struct{ io.Writer }

func (s spinning) Write(b []byte) (int, error) {
	stopSpinning()
	return s.Writer.Write(b)
}

// screen is the terminal below a spinner, which it ends: a program that draws asks the
// terminal for its size.
func screen(w io.Writer) io.Writer {
	s, ok := w.(spinning)
	if !ok {
		return w
	}
	stopSpinning()
	return s.Writer
}
