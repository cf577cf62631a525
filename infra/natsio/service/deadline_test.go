package service

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadlineContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancel(t.Context())
		defer cancel()
		for _, waits := range []bool{false, true} {
			p := newDeadlineContext(parent, time.Now().Add(time.Minute))
			child, free := context.WithCancel(context.Background())
			if waits {
				child, free = context.WithTimeout(p, time.Hour)
			}
			if err := p.Err(); err != nil {
				t.Errorf("before the deadline: %v", err)
			}
			time.Sleep(time.Minute + time.Nanosecond)
			if err := p.Err(); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("after the deadline: %v", err)
			}
			if <-p.Done(); waits && !errors.Is(child.Err(), context.DeadlineExceeded) {
				t.Errorf("the derived context: %v", child.Err())
			}
			free()
			p.end()
		}
		ended := newDeadlineContext(parent, time.Now().Add(time.Minute))
		ended.end()
		if err := ended.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("ended: %v", err)
		}
		<-ended.Done()
		late := newDeadlineContext(parent, time.Now().Add(time.Minute))
		cancel()
		if err := late.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("with a cancelled parent: %v", err)
		}
		<-late.Done()
	})
}
