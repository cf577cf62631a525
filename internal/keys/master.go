package keys

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"
)

// Master wraps the data keys. Its ID names it and reveals nothing of it.
type Master struct {
	ID   string
	aead cipher.AEAD
}

// keyBytes is the size of master keys and data keys: AES-256.
const keyBytes = 32

// newMaster derives a master key from a secret, which must not be guessable: 32
// random bytes.
func newMaster(secret []byte) (*Master, error) {
	wrap, err := hkdf.Key(sha256.New, secret, nil, "tidemark master key: wrap", keyBytes)
	if err != nil {
		return nil, err
	}
	id, err := hkdf.Key(sha256.New, secret, nil, "tidemark master key: id", 8)
	if err != nil {
		return nil, err
	}
	aead, err := newAEAD(wrap)
	return &Master{ID: hex.EncodeToString(id), aead: aead}, err
}

// newAEAD is AES-256-GCM with a random nonce before each box.
func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Wrap encrypts a key for a purpose, which Unwrap must repeat.
func (m *Master) Wrap(key []byte, purpose string) []byte {
	return m.aead.Seal(nil, nil, key, []byte(purpose))
}

// Unwrap decrypts what Wrap has encrypted.
func (m *Master) Unwrap(wrapped []byte, purpose string) ([]byte, error) {
	key, err := m.aead.Open(nil, nil, wrapped, []byte(purpose))
	if err != nil {
		return nil, fmt.Errorf("master key %s does not open the key of %s: it was changed", m.ID, purpose)
	}
	return key, nil
}

// Masters are the master keys of an engine: the first wraps new keys, all unwrap.
// During a rotation there are two.
type Masters []*Master

// Find returns the master key with an id; nil = it is not among them.
func (m Masters) Find(id string) *Master {
	for _, k := range m {
		if k.ID == id {
			return k
		}
	}
	return nil
}

// Source is where the master key comes from; its fields are flags.
type Source struct {
	MasterKey        string `name:"master-key" help:"File with the master key, 32 random bytes in hex or base64; a second key in it is an older one. TIDEMARK_MASTER_KEY may hold the key itself." env:"TIDEMARK_MASTER_KEY" placeholder:"FILE"`
	MasterKeyCommand string `name:"master-key-command" help:"Shell command that prints the master key, as from a key management service." env:"TIDEMARK_MASTER_KEY_COMMAND" placeholder:"CMD"`
}

// Given reports whether a master key is named.
func (s *Source) Given() bool { return s.MasterKey != "" || s.MasterKeyCommand != "" }

// Validate refuses a source that names two places.
func (s *Source) Validate() error {
	if s.MasterKey != "" && s.MasterKeyCommand != "" {
		return errors.New("--master-key and --master-key-command exclude each other")
	}
	return nil
}

// File is the path of the key file; empty where the key comes from elsewhere.
func (s *Source) File() string {
	if s.MasterKey == "" || s.holdsKey() {
		return ""
	}
	return s.MasterKey
}

// holdsKey reports whether MasterKey is the key itself. A path can look like one: 43
// characters without dots are 32 bytes in base64. A file that is there is one, and so is one that
// is missing from a directory.
func (s *Source) holdsKey() bool {
	if !isKey(s.MasterKey) {
		return false
	}
	there := func(path string) bool {
		_, err := os.Stat(path)
		return err == nil || errors.Is(err, fs.ErrPermission)
	}
	dir := filepath.Dir(s.MasterKey)
	return !there(s.MasterKey) && (dir == "." || dir == "/" || !there(dir))
}

// commandTimeout bounds the command that prints the master key.
const commandTimeout = 30 * time.Second

// Load reads the master keys. An error never contains a key.
func (s *Source) Load(ctx context.Context) (Masters, error) {
	switch {
	case s.MasterKeyCommand != "":
		ctx, cancel := context.WithTimeout(ctx, commandTimeout)
		defer cancel()
		text, err := exec.CommandContext(ctx, "sh", "-c", s.MasterKeyCommand).Output()
		if err != nil {
			return nil, fmt.Errorf("--master-key-command: the command that prints the master key failed: %w", err)
		}
		return parse(text, "--master-key-command")
	case s.MasterKey == "":
		return nil, errors.New("there is no master key: give --master-key FILE, --master-key-command CMD or TIDEMARK_MASTER_KEY")
	case s.holdsKey():
		return parse([]byte(s.MasterKey), "TIDEMARK_MASTER_KEY")
	}
	text, err := os.ReadFile(s.MasterKey)
	if err != nil {
		var why *fs.PathError // its path may be a mistyped key
		if errors.As(err, &why) {
			err = why.Err
		}
		return nil, fmt.Errorf("--master-key names neither a file that can be read nor a key of 32 bytes in hex or base64: %w", err)
	}
	return parse(text, "the master key file")
}

// isKey reports whether all of text is keys.
func isKey(text string) bool {
	all := split(text)
	for _, t := range all {
		if decode(t) == nil {
			return false
		}
	}
	return len(all) > 0
}

func split(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\r' || r == '\n' })
}

// decode returns the 32 bytes that text spells; nil = it does not.
func decode(text string) []byte {
	if b, err := hex.DecodeString(text); err == nil && len(b) == keyBytes {
		return b
	}
	for _, enc := range [...]*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if b, err := enc.DecodeString(text); err == nil && len(b) == keyBytes {
			return b
		}
	}
	return nil
}

// parse reads keys that are separated by white space or commas, or 32 raw bytes.
func parse(text []byte, from string) (all Masters, err error) {
	var secrets [][]byte
	if raw(text) {
		secrets = append(secrets, text)
	} else {
		for i, t := range split(string(text)) {
			secret := decode(t)
			if secret == nil {
				return nil, fmt.Errorf("%s: key %d is not 32 bytes in hex or base64, as 'openssl rand -base64 32' prints them", from, i+1)
			}
			secrets = append(secrets, secret)
		}
	}
	for _, secret := range secrets {
		m, err := newMaster(secret)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no key: 'openssl rand -base64 32' makes one", from)
	}
	return all, nil
}

// NewSecret makes a master key, in base64.
func NewSecret() string {
	return base64.StdEncoding.EncodeToString(randomBytes(keyBytes))
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return b
}

// Text is the content of a key file with one key in each line.
func Text(content []byte) string {
	if raw(content) {
		return base64.StdEncoding.EncodeToString(content) + "\n"
	}
	return strings.Join(split(string(content)), "\n") + "\n"
}

// raw reports whether the content of a key file is the key itself.
func raw(content []byte) bool {
	return len(content) == keyBytes && (!utf8.Valid(content) || bytes.IndexFunc(content, func(r rune) bool { return r < ' ' }) >= 0)
}
