package deployment

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"

	"github.com/tidemark-engine/tidemark/infra/natsio"
	"github.com/tidemark-engine/tidemark/infra/natsio/journal"
	"github.com/tidemark-engine/tidemark/internal/files"
	"github.com/tidemark-engine/tidemark/internal/redact"
)

// Note is the file engine.json that a serving engine keeps in its data
// directory: the addresses where clients reach it.
type Note struct {
	PID    int    `json:"pid"`
	NATS   string `json:"nats"`
	HTTP   string `json:"http"`
	Prefix string `json:"subject_prefix,omitempty"`
	// Fingerprint is the SHA-256 of the embedded server's certificate; "" = no TLS.
	Fingerprint string `json:"tls_fingerprint,omitempty"`
	// Shared: clients connect to the account of the engine, on an external server.
	Shared bool `json:"shared_account,omitempty"`
}

// Operator is the file operator.json: the credentials with the engine's own
// rights on its embedded server, or the URL of the external one with its secrets.
// Only the owner of the engine can read it.
type Operator struct {
	Creds   string `json:"creds,omitempty"` // as in a credentials file
	URL     string `json:"url,omitempty"`
	TLSCert string `json:"tls_cert,omitempty"` // client certificate, PEM; "" = none is needed
	TLSKey  string `json:"tls_key,omitempty"`
	// Access is how the engine authenticates at the external server.
	Access natsio.Access `json:"access,omitzero"`
	// Where the engine reads its master key, if not from its environment.
	MasterKey        string `json:"master_key_file,omitempty"`
	MasterKeyCommand string `json:"master_key_command,omitempty"`
}

// address is the NATS URL to connect to. The note hides its secrets, which the
// credentials have.
func (n *Note) address(data string) string {
	if !strings.Contains(n.NATS, redact.Hidden) {
		return n.NATS
	}
	o, err := ReadOperator(data)
	switch {
	case !n.Shared: // the engine's user is not the client's
		if err == nil && o.URL != "" {
			return WithoutUsers(o.URL)
		}
		return WithoutUsers(n.NATS)
	case err == nil && o.URL != "":
		return o.URL
	}
	return n.NATS
}

// JournalNote is the file journal.json: the journal that the engines of a data
// directory have worked on. It stays when the engine stops, so that the next
// start notices another journal or one that has lost events.
type JournalNote struct {
	Incarnation string          `json:"incarnation"`
	Accepted    string          `json:"accepted,omitempty"` // see journal.Point
	Points      []journal.Point `json:"points,omitempty"`   // by partition: events that the journal had
}

func journalPath(data string) string { return filepath.Join(data, "journal.json") }

// Write writes the note into a data directory.
func (n *JournalNote) Write(data string) error { return files.ReplaceJSON(journalPath(data), n) }

// WriteChanged writes the note unless the data directory has it already.
func (n *JournalNote) WriteChanged(data string) error {
	if old, err := ReadJournalNote(data); err == nil && old.Incarnation == n.Incarnation && old.Accepted == n.Accepted && slices.Equal(old.Points, n.Points) {
		return nil
	}
	return n.Write(data)
}

// ReadJournalNote reads the note; an empty one when there is none.
func ReadJournalNote(data string) (n JournalNote, err error) {
	if err = readJSON(journalPath(data), &n); errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err != nil {
		err = fmt.Errorf("read %s, which names the journal of this data directory: %w", journalPath(data), err)
	}
	return n, err
}

func notePath(data string) string     { return filepath.Join(data, "engine.json") }
func operatorPath(data string) string { return filepath.Join(data, "operator.json") }

// Write writes the note into a data directory.
func (n Note) Write(data string) error { return files.ReplaceJSON(notePath(data), n) }

// Write writes the credentials into a data directory.
func (o Operator) Write(data string) error { return files.ReplaceJSON(operatorPath(data), o) }

// ReadNote reads the note; fs.ErrNotExist when no engine serves the directory.
func ReadNote(data string) (n Note, err error) { return n, readJSON(notePath(data), &n) }

// ReadOperator reads the credentials.
func ReadOperator(data string) (o Operator, err error) { return o, readJSON(operatorPath(data), &o) }

// RemoveNotes removes both files when the engine stops.
func RemoveNotes(data string) error {
	var failed error
	for _, path := range []string{operatorPath(data), notePath(data)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

func readJSON(path string, v any) error {
	body, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, v)
}

// Lock takes the data directory for this process and returns the function that
// releases it. The operating system releases the lock of a process that ends.
func Lock(data string) (unlock func() error, err error) {
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711 // the user that runs postgres passes through
	}
	if err := os.MkdirAll(data, mode); err != nil {
		return nil, fmt.Errorf("create the data directory: %w", err)
	}
	l := flock.New(filepath.Join(data, "engine.lock"), flock.SetPermissions(0o600))
	locked, err := l.TryLock()
	switch {
	case err != nil:
		return nil, fmt.Errorf("lock the data directory %s: %w", data, err)
	case !locked:
		owner := ""
		if n, err := ReadNote(data); err == nil {
			owner = fmt.Sprintf(" (process %d, NATS at %s)", n.PID, n.NATS)
		}
		return nil, fmt.Errorf("another engine serves %s%s: stop it, or give this one its own --data and --nats-listen", data, owner)
	}
	return l.Close, nil
}
