package embedded

import (
	"fmt"
	"log/slog"
	"strings"
)

// logger passes the server's own log on; its notices are details here.
type logger struct{ log *slog.Logger }

func (l *logger) Noticef(f string, a ...any) { l.log.Debug("nats-server: " + fmt.Sprintf(f, a...)) }
func (l *logger) Warnf(f string, a ...any) {
	if strings.HasPrefix(f, "Plaintext passwords") {
		return // made at this start, known to this process alone
	}
	l.log.Warn("nats-server: " + fmt.Sprintf(f, a...))
}
func (l *logger) Errorf(f string, a ...any) { l.log.Error("nats-server: " + fmt.Sprintf(f, a...)) }
func (l *logger) Fatalf(f string, a ...any) { l.log.Error("nats-server: " + fmt.Sprintf(f, a...)) }
func (l *logger) Debugf(string, ...any)     {}
func (l *logger) Tracef(string, ...any)     {}
