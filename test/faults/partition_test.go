package faults

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/test/harness"
)

// network is an engine whose connections to NATS and to Postgres, and those of its
// clients, go through proxies.
type network struct {
	*harness.Engine
	t               *testing.T
	node            *node
	sql             *external
	nats, pg, front *harness.Proxy
	load            *load
	client          *harness.Client // not behind the proxy
}

func startNetwork(t *testing.T) *network {
	t.Helper()
	w := &network{t: t, sql: startExternal(t)}
	dir := harness.TempDir(t)
	address := harness.FreeAddress(t)
	w.node = &node{t: t, name: "NATS", file: filepath.Join(dir, "nats.conf"), url: "nats://" + address}
	harness.Must(t, os.WriteFile(w.node.file, fmt.Appendf(nil, "listen: %q\nmax_payload: 8MB\njetstream { store_dir: %q, max_file: 64GB }\n", address, dir), 0o600))
	t.Cleanup(w.node.kill)
	w.node.start()
	w.nats, w.front = harness.NewProxy(t, address), harness.NewProxy(t, address)
	u, err := url.Parse(w.sql.SuperuserURL())
	harness.Must(t, err)
	w.pg = harness.NewProxy(t, u.Host)
	w.Engine = harness.New(t, harness.Config{Args: []string{"--nats", "nats://" + w.nats.Address}, SQL: strings.Replace(w.sql.URL(), u.Host, w.pg.Address, 1)})
	harness.Eventually(t, "the NATS server takes connections", func() bool { return reachable(address) })
	w.Restart()
	at := *w.Engine
	at.NATSURL = w.node.url
	w.client = at.Client(t, failover...)
	at.NATSURL = "nats://" + w.front.Address
	w.load = newLoad(t, 5*time.Millisecond, true)
	w.load.opts = failover
	w.load.start(&at, 4)
	return w
}

// disturbance is something wrong with a link. It says what the engine must do
// meanwhile: be not ready, or say that Postgres is away, or go on.
type disturbance struct {
	name   string
	lasts  time.Duration
	strike func(w *network) (heal func())
	check  func(w *network) error
}

// notReady: the engine says that commands fail.
func notReady(w *network) error {
	if code, body := w.Ready(); code != 503 {
		return fmt.Errorf("/readyz says %d %s", code, body)
	}
	return nil
}

// sqlAway: the status says so, and commands and hot reads go on.
func sqlAway(w *network) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
	defer cancel()
	s, err := w.client.Status(ctx)
	if err != nil || s.Postgres.State != "away" {
		return fmt.Errorf("postgres is %q, %w", s.Postgres.State, err)
	}
	return goesOn(w)
}

// goesOn: a command is executed and the engine is ready.
func goesOn(w *network) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Second)
	defer cancel()
	r, err := w.client.Set(ctx, "probe", "k", "on", harness.M{"strategy": "last_write_wins"})
	if err != nil {
		return err
	}
	if _, err = w.client.Get(ctx, "probe", "k", harness.M{"consistency": "hot", "token": r.Token}); err != nil {
		return err
	}
	if code, body := w.Ready(); code != 200 {
		return fmt.Errorf("/readyz says %d %s", code, body)
	}
	return nil
}

// links are the three links with what a complete loss of each means.
var links = []struct {
	name  string
	proxy func(w *network) *harness.Proxy
	lost  func(w *network) error
}{
	{"engine and NATS", func(w *network) *harness.Proxy { return w.nats }, notReady},
	{"engine and Postgres", func(w *network) *harness.Proxy { return w.pg }, sqlAway},
	{"clients and engine", func(w *network) *harness.Proxy { return w.front }, goesOn},
}

// disturbances of every link.
func disturbances() (all []disturbance) {
	stalled, slow := harness.Link{Stalled: true}, harness.Link{Delay: 200 * time.Millisecond}
	for _, link := range links {
		add := func(name string, lasts time.Duration, check func(*network) error, strike func(*harness.Proxy)) {
			all = append(all, disturbance{name + " between " + link.name, lasts, func(w *network) func() {
				p := link.proxy(w)
				strike(p)
				return p.Heal
			}, check})
		}
		add("cut", 6*time.Second, link.lost, (*harness.Proxy).Cut)
		add("black hole", 8*time.Second, link.lost, func(p *harness.Proxy) { p.Set(stalled, stalled) })
		add("only requests pass", 8*time.Second, link.lost, func(p *harness.Proxy) { p.Set(harness.Link{}, stalled) })
		add("only answers pass", 8*time.Second, link.lost, func(p *harness.Proxy) { p.Set(stalled, harness.Link{}) })
		add("200 ms", 5*time.Second, nil, func(p *harness.Proxy) { p.Set(slow, slow) })
		add("slow drip", 5*time.Second, nil, func(p *harness.Proxy) { p.Set(harness.Link{Drip: 200}, harness.Link{Drip: 200}) })
		add("resets", 0, nil, func(p *harness.Proxy) {
			for range 8 {
				p.Reset()
				pause(context.Background(), 150*time.Millisecond)
			}
		})
	}
	return append(all,
		disturbance{"frozen NATS server", 8 * time.Second, func(w *network) func() { w.node.freeze(); return w.node.thaw }, notReady},
		disturbance{"wrong password of Postgres", 6 * time.Second, wrongPassword, sqlAway})
}

// wrongPassword makes Postgres refuse the engine's password, as while it is rotated.
func wrongPassword(w *network) func() {
	exec := func(statements ...string) (secret string) {
		conn, err := pgx.Connect(w.t.Context(), w.sql.SuperuserURL())
		harness.Must(w.t, err)
		defer conn.Close(context.Background())
		harness.Must(w.t, conn.QueryRow(w.t.Context(), `SELECT rolpassword FROM pg_authid WHERE rolname = 'tidemark'`).Scan(&secret))
		for _, s := range statements {
			harness.Exec(w.t, conn, s)
		}
		return secret
	}
	secret := exec(`ALTER ROLE tidemark PASSWORD 'another'`, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'tidemark'`)
	return func() { exec(`ALTER ROLE tidemark PASSWORD '` + secret + `'`) }
}

// within is how soon the engine says what is wrong, and how soon it works again when
// that is over.
const (
	reportedWithin  = 10 * time.Second
	recoveredWithin = 10 * time.Second
)

// TestPartitions disturbs the network between engine, NATS, Postgres and clients.
// Readiness and status tell the truth within seconds; when the network is whole
// again, so is the engine, without help; nothing acknowledged is lost and nothing
// takes effect twice.
func TestPartitions(t *testing.T) {
	t.Parallel()
	all := disturbances()
	if !harness.Long() {
		all = slices.DeleteFunc(all, func(d disturbance) bool {
			return d.name != "only requests pass between engine and NATS" && d.name != "black hole between engine and Postgres" && d.name != "resets between clients and engine"
		})
	}
	var reported, recovered []time.Duration
	w := startNetwork(t)
	for range harness.Rounds(1, 3) {
		for _, d := range all {
			if t.Failed() {
				break
			}
			w.load.wait(20)
			began := time.Now()
			heal := d.strike(w)
			if d.check != nil {
				harness.Within(t, harness.Patience, d.name+" is reported", func() error { return d.check(w) })
				reported = append(reported, time.Since(began))
				if took := time.Since(began); took > reportedWithin && harness.Long() {
					t.Errorf("%s: reported after %s", d.name, took)
				}
			}
			if harness.Long() {
				pause(t.Context(), d.lasts-time.Since(began))
			}
			heal()
			began = time.Now()
			harness.Eventually(t, "the engine works after "+d.name, func() error { return goesOn(w) })
			w.client.CaughtUp(t)
			w.load.wait(4)
			took := time.Since(began)
			recovered = append(recovered, took)
			t.Logf("%s: recovered after %s", d.name, took.Round(time.Millisecond))
			if took > recoveredWithin && harness.Long() {
				t.Errorf("%s: recovered only after %s", d.name, took)
			}
		}
	}
	w.load.judgeOthers(w.Engine, "probe")
	slices.Sort(reported)
	slices.Sort(recovered)
	t.Logf("%d disturbances of %d kinds; reported after p50 %s, longest %s; recovered after p50 %s, longest %s", len(recovered), len(all),
		reported[len(reported)/2].Round(time.Millisecond), reported[len(reported)-1].Round(time.Millisecond),
		recovered[len(recovered)/2].Round(time.Millisecond), recovered[len(recovered)-1].Round(time.Millisecond))
}
