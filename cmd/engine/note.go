package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// note is what a serving engine leaves in its data directory, so that client
// commands find it.
type note struct {
	PID    int    `json:"pid"`
	NATS   string `json:"nats"`
	HTTP   string `json:"http"`
	Prefix string `json:"subject_prefix,omitempty"`
}

// operator is how client commands that change the journal connect to the
// embedded server: with the engine's own rights. Who may read the file is who
// runs the engine.
type operator struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

func operatorPath(data string) string { return filepath.Join(data, "operator.json") }

func (o operator) write(data string) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return writeFile(operatorPath(data), append(body, '\n'), 0o600)
}

func readOperator(data string) (o operator, err error) {
	body, err := os.ReadFile(operatorPath(data))
	if err == nil {
		err = json.Unmarshal(body, &o)
	}
	return o, err
}

// writeFile replaces a file in one step.
func writeFile(path string, body []byte, mode os.FileMode) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, body, mode); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func notePath(data string) string { return filepath.Join(data, "engine.json") }

func (n note) write(data string) error {
	body, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(notePath(data), append(body, '\n'), 0o644)
}

func readNote(data string) (n note, err error) {
	body, err := os.ReadFile(notePath(data))
	if err == nil {
		err = json.Unmarshal(body, &n)
	}
	return n, err
}

// lockData takes the data directory for this process. The lock goes with the
// process, however it ends.
func lockData(data string) (*os.File, error) {
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(data, "engine.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close()
		who := ""
		if n, err := readNote(data); err == nil {
			who = fmt.Sprintf(" (process %d, NATS at %s)", n.PID, n.NATS)
		}
		return nil, fmt.Errorf("another engine serves %s%s: stop it, or give this one its own --data and --nats-listen", data, who)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", data, err)
	}
	return f, nil
}
