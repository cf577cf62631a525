package cli

import (
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
)

// Progress is a progress bar on a terminal; elsewhere it prints nothing.
type Progress struct{ bar *progressbar.ProgressBar }

// NewProgress starts a bar over units; total -1 = unknown.
func NewProgress(total int, what, units string) *Progress {
	stopSpinning()
	if !isTerminal(os.Stderr) {
		return &Progress{}
	}
	return &Progress{progressbar.NewOptions(total, progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString(units), progressbar.OptionSetPredictTime(total > 0),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())}
}

// Step advances the bar by one.
func (p *Progress) Step() {
	if p.bar != nil {
		_ = p.bar.Add(1) // a terminal that cannot be written to shows no bar
	}
}

// Set moves the bar.
func (p *Progress) Set(n int) {
	if p.bar != nil {
		_ = p.bar.Set(n)
	}
}

// End removes the bar.
func (p *Progress) End() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// Grouped is a number with separators: 5,000.
func Grouped(n int) string { return humanize.Comma(int64(n)) }
