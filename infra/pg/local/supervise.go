package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// stableAfter is how long postgres must run until the pause before the next
// restart is short again.
const stableAfter = time.Minute

// supervise restarts postgres on the same port and socket when it exits, with
// exponential backoff from 50 ms to 10 s. Pooled clients reconnect by
// themselves.
func (s *Server) supervise(ctx context.Context) {
	defer close(s.supervised)
	pause := backoff.ExponentialBackOff{InitialInterval: 50 * time.Millisecond, Multiplier: 2, MaxInterval: 10 * time.Second}
	for {
		p := s.postmaster.Load()
		select {
		case <-ctx.Done():
			return
		case <-p.done:
		}
		if time.Since(p.started) > stableAfter {
			pause.Reset()
		}
		s.log.Error("postgres exited; restarting it", "pid", p.cmd.Process.Pid,
			"exit", p.cmd.ProcessState.String(), "log", s.out.takeTail())
		for restarted := false; !restarted; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause.NextBackOff()):
			}
			err := s.launch(ctx)
			if restarted = err == nil; !restarted && ctx.Err() == nil {
				s.log.Error("postgres did not start; retrying", "err", err)
			}
		}
		s.log.Info("postgres is ready again", "pid", s.pid(), "port", s.port)
	}
}

// Stop shuts postgres down: it disconnects clients and writes a checkpoint. If
// ctx ends first, postgres gets SIGQUIT, and SIGKILL 6 s later, and the error
// says so; the next start then recovers from the WAL. When Stop returns, no
// process is left. Further calls wait for the first and return its error.
func (s *Server) Stop(ctx context.Context) error {
	s.once.Do(func() {
		s.cancel()
		<-s.supervised
		s.stopErr = s.shutDown(ctx)
		s.release()
		s.log.Info("postgres has stopped", "dir", s.dir)
	})
	return s.stopErr
}

func (s *Server) shutDown(ctx context.Context) error {
	p := s.postmaster.Load()
	if p == nil {
		return nil
	}
	var late error
	wait := orphanWait
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.done: // backends outlive a killed postmaster
	case <-ctx.Done():
		late = fmt.Errorf("postgres ended without a checkpoint, because it did not stop in time: %w", ctx.Err())
		wait = time.Millisecond
	}
	if err := s.endOrphans(context.Background(), wait); err != nil {
		return errors.Join(late, err)
	}
	<-p.done
	return late
}

// release frees all but the cluster.
func (s *Server) release() {
	if s.socketDir != "" {
		_ = os.Remove(s.socketDir) // fails unless it is empty
	}
	if s.out != nil {
		_ = s.out.Close()
	}
	if s.lock != nil {
		_ = s.lock.Close()
	}
}
