package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// removeEmptyBlocks removes the blocks of streams that are empty and not encrypted, before a
// server with a key encrypts the files. A server that encrypts an empty block, as a stream
// has before its first message, finds no subject of the first message that it writes there
// (nats-server 2.15.3).
func (s *Server) removeEmptyBlocks() error {
	blocks, err := filepath.Glob(filepath.Join(s.storeDir, server.JetStreamStoreDir, "*", "streams", "*", "msgs", "*.blk"))
	if err != nil {
		return err
	}
	for _, block := range blocks {
		info, err := os.Stat(block)
		if err != nil {
			return fmt.Errorf("look at a block of a stream: %w", err)
		}
		if info.Size() > 0 {
			continue
		}
		if _, err := os.Stat(strings.TrimSuffix(block, ".blk") + ".key"); !errors.Is(err, fs.ErrNotExist) { // encrypted
			continue
		}
		if err := os.Remove(block); err != nil {
			return fmt.Errorf("remove an empty block of a stream: %w", err)
		}
	}
	return nil
}
