package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// logger sends the server's log to slog. Notices become debug messages.
type logger struct{ log *slog.Logger }

func (l *logger) Noticef(f string, a ...any) { l.log.Debug("nats-server: " + fmt.Sprintf(f, a...)) }
func (l *logger) Warnf(f string, a ...any) {
	if strings.HasPrefix(f, "Plaintext passwords") || strings.HasPrefix(f, "Healthcheck failed") {
		return // the passwords are random and never leave this process; Health has the reasons
	}
	l.log.Warn("nats-server: " + fmt.Sprintf(f, a...))
}
func (l *logger) Errorf(f string, a ...any) {
	if n := len(a); n > 0 {
		if err, ok := a[n-1].(error); ok && errors.Is(err, errMoment) {
			return
		}
	}
	l.log.Error("nats-server: " + fmt.Sprintf(f, a...))
}
func (l *logger) Fatalf(f string, a ...any) { l.log.Error("nats-server: " + fmt.Sprintf(f, a...)) }
func (l *logger) Debugf(string, ...any)     {}
func (l *logger) Tracef(string, ...any)     {}
