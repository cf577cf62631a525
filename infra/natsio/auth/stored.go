package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/internal/files"
)

// save writes a principal's file and keeps it.
func (a *Authority) save(p *principal) error {
	if err := files.ReplaceJSON(filepath.Join(a.cfg.Dir, "principals", p.Name+".json"), p); err != nil {
		return fmt.Errorf("write the keys of the principal %s: %w", p.Name, err)
	}
	a.principals[p.Name], a.accounts[p.Account] = p, p.Name
	delete(a.seen, p.Name) // the server has not seen it
	return nil
}

func (a *Authority) load() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.principals, a.accounts, a.seen = map[string]*principal{}, map[string]string{}, map[string]fileState{}
	a.given, a.witnesses = map[string]given{}, map[string]string{}
	return a.loadLocked()
}

// loadLocked reads the principals' files.
func (a *Authority) loadLocked() error {
	_, err := a.read(func(name string, _ fileState) bool { return true })
	return err
}

// read reads the files of the principals that are wanted.
func (a *Authority) read(wanted func(name string, state fileState) bool) (read []*principal, err error) {
	dir := filepath.Join(a.cfg.Dir, "principals")
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the principals: %w", err)
	}
	for _, file := range files {
		name, ok := strings.CutSuffix(file.Name(), ".json")
		info, err := file.Info()
		if !ok || err != nil || !wanted(name, fileState{info.ModTime(), info.Size()}) {
			continue
		}
		var p principal
		text, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err == nil {
			err = json.Unmarshal(text, &p)
		}
		if err == nil && (p.Name != name || public(p.Seed) != p.Account || p.Account == "") {
			err = errors.New("its name or keys do not belong together")
		}
		if err != nil {
			return read, fmt.Errorf("read the keys of the principal %s: %w", name, err)
		}
		a.principals[name], a.accounts[p.Account] = &p, name
		read = append(read, &p)
	}
	return read, nil
}

// Modified is when a principal was last changed. Two changes may have the same time; zero =
// it cannot be read.
func (a *Authority) Modified() time.Time {
	info, err := os.Stat(filepath.Join(a.cfg.Dir, "principals"))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// Changed returns the JWTs of the accounts whose claims have changed since the server
// got them, and an empty one for an account that is new to it. An update of an account
// interrupts its requests, so one without a change must not be made.
func (a *Authority) Changed() (jwts map[string]string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	states := map[string]fileState{}
	read, err := a.read(func(name string, state fileState) bool {
		states[name] = state
		return a.seen[name] != state
	})
	jwts = map[string]string{}
	for _, p := range read {
		text, was := "", a.given[p.Account].jwt
		if was != "" {
			var failed error
			if text, failed = a.give(p); failed != nil {
				err = errors.Join(err, failed)
				continue
			}
		}
		if text != was || was == "" {
			jwts[p.Account] = text
		}
		a.seen[p.Name] = states[p.Name]
	}
	return jwts, err
}
