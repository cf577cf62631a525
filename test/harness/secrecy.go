package harness

import (
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	// secretKey is the seed of an NKey, which no program may print.
	secretKey = regexp.MustCompile(`\bS[AOUC][A-Z2-7]{56}\b|BEGIN USER NKEY SEED`)
	// secretURL has a password or a token; "xxxxx" stands for a hidden one.
	secretURL = regexp.MustCompile(`\b(?:nats|tls|ws|wss|postgres|postgresql)://(?:[^\s/@:]*:)?([^\s/@:]+)@`)
	// secretToken is a signed token, as in a credentials file.
	secretToken = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.`)
	password    = regexp.MustCompile(`(?i)(?:://[^\s/@:]*:([^\s/@,]{8,})@|password='?([^\s'@&]{8,}))`)
)

// noSecret fails the test if what a program printed has a secret key, the password or
// token of a URL, or one of the secrets.
func noSecret(t testing.TB, where, text string, secrets ...string) {
	t.Helper()
	if secretKey.MatchString(text) {
		t.Errorf("%s shows a secret key", where)
	}
	for _, m := range secretURL.FindAllStringSubmatch(text, -1) {
		if m[1] != "xxxxx" && !(strings.HasPrefix(m[0], "postgres") && !strings.Contains(m[0][len("postgres://"):], ":")) {
			t.Errorf("%s shows a URL with a secret", where)
		}
	}
	for _, s := range secrets {
		if strings.Contains(text, s) {
			t.Errorf("%s shows a secret of %d characters", where, len(s))
		}
	}
}

// checkSecrets fails the test if the engine's log, or that of its database, has a secret:
// those of its data directory, its options and its environment, and signed tokens.
func (e *Engine) checkSecrets(log string) {
	e.t.Helper()
	secrets := e.secrets()
	noSecret(e.t, "the engine's log", log, secrets...)
	if secretToken.MatchString(log) {
		e.t.Error("the engine's log shows a signed token")
	}
	if sql, err := os.ReadFile(filepath.Join(e.Data, "postgres", "postgres.log")); err == nil {
		noSecret(e.t, "the log of Postgres", string(sql), secrets...)
	}
}

// secrets are the texts that the engine must not print.
func (e *Engine) secrets() (all []string) {
	files := []string{filepath.Join(e.Data, "postgres", "password"), filepath.Join(e.Data, "postgres", "superuser"), filepath.Join(e.Data, "master.key")}
	texts := append(slices.Clone(e.cfg.Args), e.cfg.SQL)
	for i, arg := range e.cfg.Args {
		if i > 0 && slices.Contains([]string{"--master-key", "--nats-nkey", "--nats-password-file"}, e.cfg.Args[i-1]) {
			files = append(files, arg)
		}
	}
	for _, kv := range e.cfg.Env {
		name, value, _ := strings.Cut(kv, "=")
		if texts = append(texts, value); strings.HasSuffix(name, "_MASTER_KEY") || strings.HasSuffix(name, "_PASSWORD") {
			all = append(all, strings.Fields(value)...)
		}
	}
	for _, path := range files {
		if text, err := os.ReadFile(path); err == nil { // an engine without it has none
			all = append(all, strings.Fields(string(text))...)
		}
	}
	for _, m := range password.FindAllStringSubmatch(strings.Join(texts, " "), -1) {
		all = append(all, m[1]+m[2])
	}
	for _, s := range all { // a key in its other form
		if key, err := hex.DecodeString(s); err == nil {
			all = append(all, base64.StdEncoding.EncodeToString(key))
		} else if key, err := base64.StdEncoding.DecodeString(s); err == nil {
			all = append(all, hex.EncodeToString(key))
		}
	}
	return slices.DeleteFunc(all, func(s string) bool { return len(s) < 8 })
}

// PrivateFiles checks the modes below a data directory: other users read nothing.
// Directories may be passed through where another user runs postgres.
func PrivateFiles(t testing.TB, data string) {
	t.Helper()
	real, err := filepath.EvalSymlinks(data)
	Must(t, err)
	files := 0
	err = filepath.WalkDir(real, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // removed meanwhile
		}
		info, err := d.Info()
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return nil
		}
		mode, may := info.Mode().Perm(), fs.FileMode(0o600)
		if d.IsDir() {
			may = 0o711
		}
		if files++; mode&^may != 0 {
			t.Errorf("%s has mode %o, at most %o is right", path, mode, may)
		}
		return nil
	})
	if err != nil || files < 3 {
		t.Errorf("look at %d files below %s: %v", files, real, err)
	}
}
