package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"
)

const (
	shortestPause = 50 * time.Millisecond
	longestPause  = 10 * time.Second
	settled       = time.Minute // having run this long, postgres is forgiven its last failure
)

// supervise starts postgres again, on the same port and socket, whenever it
// ends by itself. Pooled clients reconnect without being told.
func (s *Server) supervise(ctx context.Context) {
	defer close(s.supervised)
	pause := shortestPause
	for {
		p := s.current()
		select {
		case <-ctx.Done():
			return
		case <-p.done:
		}
		if time.Since(p.began) > settled {
			pause = shortestPause
		}
		s.log.Error("postgres ended by itself; starting it again", "pid", p.cmd.Process.Pid,
			"exit", p.cmd.ProcessState.String(), "log", s.out.tail(3))
		for {
			wait, cancel := context.WithTimeout(ctx, pause)
			<-wait.Done()
			cancel()
			pause = min(2*pause, longestPause)
			err := s.up(ctx)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				s.log.Info("postgres is back", "pid", s.Pid(), "port", s.port)
				break
			}
			s.log.Error("postgres did not start; trying again", "in", pause, "err", err)
		}
	}
}

// Stop ends postgres by a fast shutdown: clients are cut off, what was
// committed is checkpointed. If the context ends first, postgres is ended with
// SIGQUIT and 6 s later SIGKILL, and the error says so; the next start then
// recovers from the WAL. When Stop returns nothing is left running. Further
// calls wait for the first and return what it did.
func (s *Server) Stop(ctx context.Context) error {
	s.once.Do(func() {
		s.cancel()
		<-s.supervised
		s.stopErr = s.end(ctx)
		s.release()
		s.log.Info("postgres has stopped", "dir", s.home)
	})
	return s.stopErr
}

func (s *Server) end(ctx context.Context) error {
	var hurried error
	if p := s.current(); p != nil {
		_ = p.cmd.Process.Signal(syscall.SIGINT)
		select {
		case <-p.done:
		case <-ctx.Done():
			hurried = fmt.Errorf("postgres was ended without a checkpoint, because it had not stopped in time: %w", ctx.Err())
			_ = p.cmd.Process.Signal(syscall.SIGQUIT)
			if !p.endsWithin(s.grace) {
				_ = p.cmd.Process.Kill()
				p.endsWithin(s.grace)
			}
		}
	}
	return errors.Join(hurried, s.killAll())
}

// killAll is for the backends of a postmaster that was killed: they go by
// themselves, but a busy one takes its time.
func (s *Server) killAll() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.grace)
	defer cancel()
	var left []proc
	err := poll(ctx, 10*time.Millisecond, func() bool {
		left = serving(s.data())
		for _, p := range left {
			if p.ours {
				p.signal(s.data(), syscall.SIGKILL)
			}
		}
		return !anyOurs(left)
	})
	if err != nil {
		return fmt.Errorf("still running although killed: %s", pids(left))
	}
	return nil
}

// release gives back all but the cluster.
func (s *Server) release() {
	if s.sockets != "" {
		s.dropTemporary(filepath.Join(s.home, socketName))
	}
	if s.out != nil {
		s.out.close()
	}
	if s.lock != nil {
		_ = s.lock.Truncate(0)
		_ = s.lock.Close()
	}
}
