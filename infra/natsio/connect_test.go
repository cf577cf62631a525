package natsio

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/tidemark-engine/tidemark/test/harness"
)

var quiet = slog.New(slog.DiscardHandler)

// run starts a server without JetStream.
func run(t *testing.T, opts server.Options) *server.Server {
	t.Helper()
	opts.Host, opts.Port, opts.NoSigs, opts.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	s, err := server.NewServer(&opts)
	harness.Must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server takes no connections")
	}
	return s
}

func write(t *testing.T, name string, text []byte) string {
	t.Helper()
	harness.Must(t, os.WriteFile(name, text, 0o600))
	return name
}

// TestRotatedCredentials checks for each kind of credentials that a server which
// refuses them for a while does not end the connection, and that the files are
// read again.
func TestRotatedCredentials(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	seedA, seedB := userKey(t), userKey(t)
	seed := filepath.Join(dir, "seed")
	for _, c := range []struct {
		name          string
		access        Access
		file          string
		before, after []byte // the file
		users, later  server.Options
	}{
		{"password", Access{User: "u", PasswordFile: password}, password, []byte("old\n"), []byte("new\n"),
			server.Options{Username: "u", Password: "old"}, server.Options{Username: "u", Password: "new"}},
		{"NKey", Access{Creds: seed}, seed, seedA.seed, seedB.seed,
			server.Options{Nkeys: []*server.NkeyUser{{Nkey: seedA.public}}}, server.Options{Nkeys: []*server.NkeyUser{{Nkey: seedB.public}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			write(t, c.file, c.before)
			s := run(t, c.users)
			opts, err := c.access.Options()
			harness.Must(t, err)
			nc, err := Connect(s.ClientURL(), "test", quiet, opts...)
			harness.Must(t, err)
			defer nc.Close()
			c.later.Host, c.later.Port = "127.0.0.1", s.Addr().(*net.TCPAddr).Port
			c.later.NoSigs, c.later.NoLog = true, true
			harness.Must(t, s.ReloadOptions(&c.later))
			harness.Eventually(t, "the server refuses several times", func() bool {
				v, err := s.Varz(nil)
				return err == nil && v.TotalConnections > 5 && !nc.IsConnected()
			})
			write(t, c.file, c.after)
			harness.Eventually(t, "connected with the new credentials", nc.IsConnected)
		})
	}
}

type key struct {
	pair   nkeys.KeyPair
	seed   []byte
	public string
}

func userKey(t *testing.T) key { return newKey(t, nkeys.CreateUser) }

func newKey(t *testing.T, create func() (nkeys.KeyPair, error)) (k key) {
	t.Helper()
	var err error
	k.pair, err = create()
	harness.Must(t, err)
	k.seed, err = k.pair.Seed()
	harness.Must(t, err)
	k.public, err = k.pair.PublicKey()
	harness.Must(t, err)
	return k
}

// TestCredentialsFile connects to a server in operator mode.
func TestCredentialsFile(t *testing.T) {
	t.Parallel()
	operator, account, user := newKey(t, nkeys.CreateOperator), newKey(t, nkeys.CreateAccount), userKey(t)
	oc := jwt.NewOperatorClaims(operator.public)
	_, err := oc.Encode(operator.pair)
	harness.Must(t, err)
	accountJWT, err := jwt.NewAccountClaims(account.public).Encode(operator.pair)
	harness.Must(t, err)
	userJWT, err := jwt.NewUserClaims(user.public).Encode(account.pair)
	harness.Must(t, err)
	resolver := &server.MemAccResolver{}
	harness.Must(t, resolver.Store(account.public, accountJWT))
	s := run(t, server.Options{TrustedKeys: []string{operator.public}, AccountResolver: resolver})
	text, err := jwt.FormatUserConfig(userJWT, user.seed)
	harness.Must(t, err)
	opts, err := Access{Creds: write(t, filepath.Join(t.TempDir(), "u.creds"), text)}.Options()
	harness.Must(t, err)
	nc, err := Connect(s.ClientURL(), "test", quiet, opts...)
	harness.Must(t, err)
	nc.Close()
	if _, err := Connect("nats://u:secret@"+s.Addr().String(), "test", quiet); err == nil ||
		!strings.Contains(err.Error(), "credentials file") || strings.Contains(err.Error(), "secret") {
		t.Errorf("with a wrong password: %v", err)
	}
}

// TestTLS connects to a server that requires a certificate of its own CA.
func TestTLS(t *testing.T) {
	t.Parallel()
	ca, cert, key, pool := certificate(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	harness.Must(t, err)
	s := run(t, server.Options{TLS: true, TLSVerify: true, TLSTimeout: 10,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}})
	opts, err := Access{TLSCA: ca, TLSCert: cert, TLSKey: key}.Options()
	harness.Must(t, err)
	nc, err := Connect(s.ClientURL(), "test", quiet, opts...)
	harness.Must(t, err)
	nc.Close()
	opts, err = Access{TLSCA: ca}.Options()
	harness.Must(t, err)
	if _, err := Connect(s.ClientURL(), "test", quiet, opts...); err == nil {
		t.Error("connected without a client certificate")
	}
	if _, err := Connect(s.ClientURL(), "test", quiet); err == nil || !strings.Contains(err.Error(), "CA") {
		t.Errorf("without the CA: %v", err)
	}
}

// certificate is a self-signed certificate for server and client.
func certificate(t *testing.T) (ca, cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	harness.Must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	harness.Must(t, err)
	keyDER, err := x509.MarshalECPrivateKey(private)
	harness.Must(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	dir := t.TempDir()
	cert = write(t, filepath.Join(dir, "cert.pem"), text)
	key = write(t, filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
	return cert, cert, key, pool
}

func TestAccessRefuses(t *testing.T) {
	text := write(t, filepath.Join(t.TempDir(), "text"), []byte("no key"))
	for _, c := range []struct {
		access Access
		say    string
	}{
		{Access{User: "u"}, "need each other"},
		{Access{TLSCert: text}, "need each other"},
		{Access{Creds: "/nowhere"}, "/nowhere"},
		{Access{Creds: text}, "neither credentials nor"},
		{Access{TLSCA: filepath.Join(t.TempDir(), "absent")}, "absent"},
	} {
		if _, err := c.access.Options(); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%+v: %v", c.access, err)
		}
	}
}

// TestOldServer checks that an old server is refused at the first connect, and
// passed over in a list and after a reconnect, before it receives anything.
func TestOldServer(t *testing.T) {
	t.Parallel()
	old, got := oldServer(t, "2.11.10")
	if _, err := Connect(old, "test", quiet); err == nil || !strings.Contains(err.Error(), "nats-server 2.11.10") || !strings.Contains(err.Error(), MinServer) {
		t.Fatalf("a server of version 2.11.10: %v", err)
	}
	s := run(t, server.Options{})
	nc, err := Connect(old+","+s.ClientURL(), "test", quiet, nats.DontRandomize())
	harness.Must(t, err)
	defer nc.Close()
	harness.Must(t, nc.ForceReconnect())
	harness.Eventually(t, "connected again", nc.IsConnected)
	if at := nc.ConnectedUrl(); at != s.ClientURL() {
		t.Errorf("connected to %s", at)
	}
	if n := got.Load(); n > 0 {
		t.Errorf("the old server received %d bytes", n)
	}
	for version, valid := range map[string]bool{"2.12.0": true, "2.12.0-RC.1": true, "2.15.3": true, "3.0.0": true, "2.9.25": false, "1.99.0": false, "": false} {
		if err := checkVersion(version); (err == nil) != valid {
			t.Errorf("%q: %v", version, err)
		}
	}
}

// oldServer says only that it has a version; got counts the bytes it receives.
func oldServer(t *testing.T, version string) (url string, got *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	harness.Must(t, err)
	t.Cleanup(func() { l.Close() })
	got = &atomic.Int64{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintf(c, "INFO {\"server_id\":\"X\",\"version\":%q,\"max_payload\":1048576}\r\n", version)
				n, _ := io.Copy(io.Discard, bufio.NewReader(c))
				got.Add(n)
			}()
		}
	}()
	return "nats://" + l.Addr().String(), got
}

// leftWithin is how long the engine may stay with a server that is frozen.
const leftWithin = 10 * time.Second

// TestFrozenServer checks that a connection leaves a server that takes
// connections and bytes but answers nothing, also while writes to it block.
func TestFrozenServer(t *testing.T) {
	t.Parallel()
	for _, busy := range []bool{false, true} {
		t.Run(fmt.Sprintf("busy %t", busy), func(t *testing.T) {
			t.Parallel()
			first, second := run(t, server.Options{}), run(t, server.Options{})
			p := &frozenProxy{to: first.Addr().String(), frozen: make(chan struct{})}
			url := p.listen(t)
			nc, err := Connect(url+","+second.ClientURL(), "test", quiet, nats.DontRandomize())
			harness.Must(t, err)
			defer nc.Close()
			close(p.frozen)
			if busy {
				go func() {
					body := make([]byte, 64<<10)
					for range 1000 { // more than the socket takes
						_ = nc.Publish("x", body) // fails when the buffer of the broken connection is full
					}
				}()
			}
			harness.Within(t, leftWithin, "another server is used", func() bool { return nc.ConnectedUrl() == second.ClientURL() })
		})
	}
}

// frozenProxy forwards bytes until it is frozen; then it takes connections and
// reads nothing, as a stopped process does.
type frozenProxy struct {
	to     string
	frozen chan struct{}
}

func (p *frozenProxy) listen(t *testing.T) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	harness.Must(t, err)
	ended := make(chan struct{})
	t.Cleanup(func() { l.Close(); close(ended) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.forward(c, ended)
		}
	}()
	return "nats://" + l.Addr().String()
}

func (p *frozenProxy) forward(c net.Conn, ended <-chan struct{}) {
	defer c.Close()
	select {
	case <-p.frozen:
		<-ended
		return
	default:
	}
	s, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer s.Close()
	pipe := func(to, from net.Conn) {
		buf := make([]byte, 4096)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			select {
			case <-p.frozen:
				return
			default:
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	go pipe(c, s)
	pipe(s, c)
	<-ended
}

// TestConnectText: every failure of TLS says what the client may lack.
func TestConnectText(t *testing.T) {
	for cause, hint := range map[string]bool{
		"tls error: x509: certificate signed by unknown authority":                       true,
		"remote error: tls: certificate required":                                        true,
		"tls error: connection closed by remote after TLS handshake: write: broken pipe": true,
		"dial tcp 127.0.0.1:1: connect: connection refused":                              false,
	} {
		for _, server := range []string{"nats://127.0.0.1:1", "tls://127.0.0.1:1"} {
			text := connectText(server, errors.New("nats: "+cause))
			if strings.Contains(text, "client certificate") != hint || !strings.Contains(text, cause) {
				t.Errorf("%s: %s", cause, text)
			}
		}
	}
}

// A connection that is closed while it drains is closed because the program wants it: that is no
// error in the log of a clean stop.
func TestAClosedDrainIsNoError(t *testing.T) {
	t.Parallel()
	s := run(t, server.Options{})
	var errs atomic.Int64
	log := slog.New(slog.NewTextHandler(writerFunc(func(line []byte) { errs.Add(1); t.Log(string(line)) }), &slog.HandlerOptions{Level: slog.LevelError}))
	for n := range 50 {
		nc, err := Connect(s.ClientURL(), "test", log)
		harness.Must(t, err)
		for i := range 20 {
			_, err := nc.SubscribeSync(fmt.Sprint("a.", i))
			harness.Must(t, err)
		}
		harness.Must(t, nc.Drain())
		time.Sleep(time.Duration(n) * 400 * time.Microsecond)
		nc.Close()
	}
	time.Sleep(200 * time.Millisecond)
	if n := errs.Load(); n > 0 {
		t.Errorf("%d errors in the log", n)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }
