package embedded

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// Health is what the server says of its streams on disk.
type Health struct {
	Off bool // JetStream does not run
	// Failed are streams that could not write. They store nothing until
	// RestartJetStream, even when the disk has room again.
	Failed []string
	// Lost are streams whose directories exist and that the server could not
	// recover from them.
	Lost []string
}

// Health asks the server for the state of its streams.
func (s *Server) Health() (h Health) {
	if h.Off = !s.ns.JetStreamEnabled(); h.Off {
		return h
	}
	var answer recorder
	s.ns.HandleHealthz(&answer, &http.Request{Method: http.MethodGet, URL: &url.URL{RawQuery: "details=true"}})
	var status server.HealthStatus
	if json.Unmarshal(answer.Bytes(), &status) != nil {
		return h
	}
	for _, e := range status.Errors {
		switch {
		case e.Stream == "", e.Account != "" && e.Account != s.auth.Engine(): // a client's
		case strings.Contains(e.Error, "could not be recovered"):
			h.Lost = append(h.Lost, e.Stream)
		default:
			h.Failed = append(h.Failed, e.Stream)
		}
	}
	slices.Sort(h.Failed)
	slices.Sort(h.Lost)
	return h
}

// recorder keeps the body of an answer.
type recorder struct {
	bytes.Buffer
	header http.Header
}

func (r *recorder) Header() http.Header {
	if r.header == nil {
		r.header = http.Header{}
	}
	return r.header
}

func (r *recorder) WriteHeader(int) {}

// StreamDir is the directory of a stream.
func (s *Server) StreamDir(stream string) string {
	return filepath.Join(s.storeDir, server.JetStreamStoreDir, s.auth.Engine(), "streams", stream)
}

// RestartJetStream closes all streams and opens them again from the disk. Streams
// and consumers in memory are lost; connections stay. It fails when the disk refuses
// the files that JetStream needs, and JetStream then stays off until the next
// call.
func (s *Server) RestartJetStream() error {
	if err := s.ns.ShutdownJetStream(); err != nil {
		return fmt.Errorf("stop JetStream: %w", err)
	}
	if err := s.ns.EnableJetStream(&server.JetStreamConfig{StoreDir: s.storeDir, MaxStore: s.maxStore}); err != nil {
		return errors.Join(fmt.Errorf("start JetStream again: %w", err), s.ns.ShutdownJetStream())
	}
	return nil
}

// Disk returns the free bytes of the data directory's file system, its size, and
// false where the system does not say.
func (s *Server) Disk() (free, size int64, ok bool) { return disk(s.storeDir) }

// Files is how many files the file system of the data directory can still take, and how
// many it can hold. ok is false where it has no such limit, or the system does not say.
func (s *Server) Files() (free, all int64, ok bool) { return freeFiles(s.storeDir) }

// Used returns the bytes that JetStream stores on disk.
func (s *Server) Used() int64 {
	if info, err := s.ns.Jsz(nil); err == nil {
		return int64(info.Store)
	}
	return 0
}

// Disconnect closes the connection of a client.
func (s *Server) Disconnect(connection uint64) { _ = s.ns.DisconnectClientByID(connection) } // it may be gone

// Connected returns whether the connection of a client is open.
func (s *Server) Connected(connection uint64) bool { return s.ns.GetClient(connection) != nil }
