package natsio

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Access is how to authenticate at a NATS server; an empty Access is no
// authentication, or the user and password in the URL. The files are read again
// at every connect, so that rotated ones are used without a restart. The tags are
// those of the flags.
type Access struct {
	Creds        string `help:"NATS credentials file, or a file with an NKey seed." env:"CREDS" placeholder:"FILE"`
	NKey         string `name:"nkey" help:"File with the NKey seed for NATS." env:"NKEY" placeholder:"FILE"`
	User         string `help:"User name for NATS." env:"USER" placeholder:"NAME"`
	PasswordFile string `help:"File with the password for NATS." env:"PASSWORD_FILE" placeholder:"FILE"`
	TLSCA        string `name:"tls-ca" help:"CA certificates that a NATS server's certificate must come from, PEM." env:"TLS_CA" placeholder:"FILE"`
	TLSCert      string `name:"tls-cert" help:"Client certificate for NATS, PEM." env:"TLS_CERT" placeholder:"FILE"`
	TLSKey       string `name:"tls-key" help:"Private key of the client certificate, PEM." env:"TLS_KEY" placeholder:"FILE"`
}

// None reports whether nothing says who connects.
func (a Access) None() bool { return a.Creds == "" && a.NKey == "" && a.User == "" }

// Absolute is the same access from every working directory.
func (a Access) Absolute() Access {
	for _, file := range []*string{&a.Creds, &a.NKey, &a.PasswordFile, &a.TLSCA, &a.TLSCert, &a.TLSKey} {
		if path, err := filepath.Abs(*file); *file != "" && err == nil {
			*file = path
		}
	}
	return a
}

// Options are the options of Connect. Options fails if a file cannot be read, or
// if one setting needs another.
func (a Access) Options() (opts []nats.Option, err error) {
	if (a.User == "") != (a.PasswordFile == "") {
		return nil, errors.New("NATS access: the user name and the password file need each other")
	}
	if (a.TLSCert == "") != (a.TLSKey == "") {
		return nil, errors.New("NATS access: the TLS certificate and its key need each other")
	}
	for _, file := range []string{a.Creds, a.NKey, a.PasswordFile, a.TLSCA, a.TLSCert, a.TLSKey} {
		if file == "" {
			continue
		}
		if _, err := os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("NATS access: %w", err)
		}
	}
	if err := a.checkTLS(); err != nil {
		return nil, err
	}
	if a.Creds != "" {
		text, err := os.ReadFile(a.Creds)
		switch {
		case err != nil:
			return nil, fmt.Errorf("NATS access: %w", err)
		case bytes.Contains(text, []byte("BEGIN NATS USER JWT")):
			opts = append(opts, nats.UserCredentials(a.Creds))
		case a.NKey == "":
			a.NKey = a.Creds
		}
	}
	if a.NKey != "" {
		nkey, err := nkeyFile(a.NKey)
		if err != nil {
			return nil, err
		}
		opts = append(opts, nkey)
	}
	if a.User != "" {
		opts = append(opts, nats.UserInfoHandler(func() (user, password string) {
			text, _ := os.ReadFile(a.PasswordFile) // the server refuses an empty password; the next try reads again
			return a.User, strings.TrimRight(string(text), "\r\n")
		}))
	}
	if a.TLSCA != "" {
		opts = append(opts, nats.RootCAs(a.TLSCA))
	}
	if a.TLSCert != "" {
		opts = append(opts, nats.ClientCert(a.TLSCert, a.TLSKey))
	}
	return opts, nil
}

// checkTLS fails if the TLS files are not what they should be.
func (a Access) checkTLS() error {
	if a.TLSCA != "" {
		text, err := os.ReadFile(a.TLSCA)
		if err != nil {
			return fmt.Errorf("NATS access: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(text) {
			return fmt.Errorf("NATS access: %s holds no CA certificate in PEM", a.TLSCA)
		}
	}
	if a.TLSCert != "" {
		if _, err := tls.LoadX509KeyPair(a.TLSCert, a.TLSKey); err != nil {
			return fmt.Errorf("NATS access: %s and %s are no client certificate in PEM with its key: %w", a.TLSCert, a.TLSKey, err)
		}
	}
	return nil
}

// Credentials are the options of the text of a credentials file, or of an NKey seed. They are
// in memory only.
func Credentials(text string) ([]nats.Option, error) {
	if strings.Contains(text, "BEGIN NATS USER JWT") {
		return []nats.Option{nats.UserCredentialBytes([]byte(text))}, nil
	}
	pair, err := nkeys.ParseDecoratedNKey([]byte(text))
	if err != nil {
		return nil, errors.New("the text holds neither credentials nor the seed of a user's NKey")
	}
	public, err := pair.PublicKey()
	if err != nil || !nkeys.IsValidPublicUserKey(public) {
		return nil, errors.New("the seed is not of a user's NKey")
	}
	return []nats.Option{nats.Nkey(public, pair.Sign)}, nil
}

// nkeyFile is the option for a file with an NKey seed.
func nkeyFile(file string) (nats.Option, error) {
	if _, err := nats.NkeyOptionFromSeed(file); err != nil {
		return nil, fmt.Errorf("NATS access: %s holds neither credentials nor the seed of a user's NKey", file)
	}
	return func(o *nats.Options) error {
		if d, ok := o.CustomDialer.(*dialer); ok {
			d.key = func() (string, error) {
				var read nats.Options
				opt, err := nats.NkeyOptionFromSeed(file)
				if err == nil {
					err = opt(&read)
				}
				return read.Nkey, err
			}
		}
		opt, err := nats.NkeyOptionFromSeed(file)
		if err != nil {
			return err
		}
		return opt(o)
	}, nil
}
