package auth

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
)

// Subjects inside the accounts. A client's request for the JetStream API is
// mapped to ProxyRoot in DEV, which the gate answers; OwnAPIRoot is how the gate
// reaches the JetStream of DEV itself. An acknowledgement is mapped too: one with +NXT
// is a request, and the server sends what it asks for wherever its reply subject points.
const (
	ProxyRoot  = "tmapi."
	AckRoot    = ProxyRoot + "ACK."
	OwnAPIRoot = "tmjs."
	// Forbidden is where DEV maps what is published on subjects of the engine, so
	// that an answer that a client sends there reaches no client.
	Forbidden = "engine-only."
)

// Limits of the JetStream of clients without credentials.
const (
	devMemory    = 64 << 20
	devStreams   = 64
	devConsumers = 500
	// maxConnections and maxSubscriptions bound one account; fewConnections is what a
	// principal may have of a server with few.
	maxConnections   = 4096
	fewConnections   = 16
	maxSubscriptions = 100_000
)

// TaskStream and TaskConsumer are what workers pull tasks from.
const (
	TaskStream   = "TASK_EXECUTION"
	TaskConsumer = "task-processor"
)

// Streams are what clients read: the buckets and the feeds.
var Streams = []string{
	"KV_AGENT_STATE", "KV_TASK_STATE", "KV_SESSION_DATA", "KV_AGENT_CONFIG", "KV_REMINDER_STATE", "KV_CLAIM_STATE", "KV_QUERY_CACHE",
	"AGENT_STATE", TaskStream, "AGENT_MESSAGES",
}

// Root is the root of an account's subjects in the account of the engine.
func (a *Authority) Root(account string) string { return a.cfg.Prefix + "tm." + account + "." }

// position is the position of the account's token in an export.
func (a *Authority) position() uint { return uint(strings.Count(a.cfg.Prefix, ".")) + 2 }

// OperatorClaims are the claims that the server trusts.
func (a *Authority) OperatorClaims() (*jwt.OperatorClaims, error) {
	claims := jwt.NewOperatorClaims(public(a.keys.Operator))
	claims.Name, claims.SystemAccount = "tidemark", a.System()
	if _, err := encode(claims, a.keys.Operator); err != nil {
		return nil, err
	}
	return claims, nil
}

// Fetch returns the JWT of an account. It reads the directory for an account that
// it does not know.
func (a *Authority) Fetch(account string) (string, error) {
	switch account {
	case a.System():
		return a.systemJWT()
	case a.Engine():
		return a.engineJWT()
	case a.Dev():
		return a.devJWT()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.accounts[account]; !ok {
		if err := a.loadLocked(); err != nil {
			return "", err
		}
	}
	p := a.principals[a.accounts[account]]
	if p == nil {
		return "", fmt.Errorf("%w: account %.60s", ErrUnknown, account)
	}
	return a.give(p)
}

func newAccount(account, name string) *jwt.AccountClaims {
	claims := jwt.NewAccountClaims(account)
	claims.Name = name
	claims.Limits.Subs, claims.Limits.Conn, claims.Limits.LeafNodeConn = maxSubscriptions, maxConnections, 0
	return claims
}

func (a *Authority) systemJWT() (string, error) {
	return encode(newAccount(a.System(), "SYS"), a.keys.Operator)
}

// importer adds the imports of one account.
type importer struct {
	a      *Authority
	claims *jwt.AccountClaims
	engine string // account
	own    string
}

func (i *importer) service(subject, local string, share bool) {
	i.claims.Imports.Add(&jwt.Import{Name: local, Subject: jwt.Subject(subject), LocalSubject: jwt.RenamingSubject(local), Account: i.engine, Type: jwt.Service, Share: share})
}

func (i *importer) stream(subject, local string) {
	i.claims.Imports.Add(&jwt.Import{Name: local, Subject: jwt.Subject(subject), LocalSubject: jwt.RenamingSubject(local), Account: i.engine, Type: jwt.Stream})
}

func (i *importer) common() {
	prefix := i.a.cfg.Prefix
	i.service(i.own+"commands.>", prefix+"commands.>", true)
	i.service(i.own+"queries.>", prefix+"queries.>", true)
	i.service(i.own+"intake.>", prefix+"enqueue.>", true)
	// The server's micro service sees who asks in neither way; it answers all alike.
	for _, discovery := range []string{"$SRV.*", "$SRV.*.tidemark", "$SRV.*.tidemark.*"} {
		i.service(discovery, discovery, false)
	}
	for _, name := range i.a.cfg.ReadRaw {
		i.service("$JS.FC."+name+".>", "$JS.FC."+name+".>", false)
	}
	i.stream(i.own+"inbox.>", "_INBOX.>")
}

// apiDoors are the requests of the JetStream API that the gate answers for a
// principal, which has no JetStream of its own.
var apiDoors = []string{
	"INFO", "STREAM.>", "DIRECT.>", "CONSUMER.CREATE.>", "CONSUMER.DURABLE.>", "CONSUMER.INFO.>", "CONSUMER.DELETE.>",
	"CONSUMER.LIST.>", "CONSUMER.NAMES.>", "CONSUMER.PAUSE.>", "CONSUMER.RESET.>", "CONSUMER.UNPIN.>", "CONSUMER.LEADER.>", "META.>", "ACCOUNT.>", "SERVER.>",
}

func (a *Authority) principalJWT(p *principal) (string, error) {
	claims, err := a.numberedClaims(p)
	if err != nil {
		return "", err
	}
	return encode(claims, a.keys.Operator)
}

// give is principalJWT for the server: the same text as long as the claims are the same.
// The caller holds the lock.
func (a *Authority) give(p *principal) (string, error) {
	claims, err := a.numberedClaims(p)
	if err != nil {
		return "", err
	}
	key, err := json.Marshal(claims) // without the time and the id that the signature adds
	if err != nil {
		return "", err
	}
	if was := a.given[p.Account]; was.claims == string(key) {
		return was.jwt, nil
	}
	text, err := encode(claims, a.keys.Operator)
	if err == nil {
		a.given[p.Account] = given{string(key), text}
	}
	return text, err
}

// principalClaims are what the account of a principal imports from the account of
// the engine.
func (a *Authority) principalClaims(p *principal, account, engine string) *jwt.AccountClaims {
	claims := newAccount(account, p.Name)
	claims.Revocations = jwt.RevocationList{}
	maps.Copy(claims.Revocations, p.Revoked)
	maps.Copy(claims.Revocations, p.Expire)
	if n := int64(a.cfg.Connections); n > 0 {
		claims.Limits.Conn = min(claims.Limits.Conn, max(n/4, fewConnections))
	}
	claims.Mappings = jwt.Mapping{}
	for _, name := range append(shared[:len(shared):len(shared)], a.shared...) {
		pull := "$JS.API.CONSUMER.MSG.NEXT." + name
		claims.Mappings[jwt.Subject(pull)] = []jwt.WeightedMapping{{Subject: jwt.Subject(Forbidden + pull)}}
	}
	i := &importer{a: a, claims: claims, engine: engine, own: a.Root(account)}
	i.common()
	for _, door := range apiDoors {
		i.service(i.own+"api."+door, "$JS.API."+door, true)
	}
	// Pulls cannot pass the gate: the server lets no client send a message with the
	// reply subject of an acknowledgement. The names of these consumers are random,
	// except those of the topology on AGENT_MESSAGES.
	for _, name := range a.cfg.ReadRaw {
		switch {
		case name == TaskStream:
			i.service("$JS.API.CONSUMER.MSG.NEXT."+name+"."+account, "$JS.API.CONSUMER.MSG.NEXT."+name+"."+TaskConsumer, false)
			i.service("$JS.ACK."+name+"."+account+".>", "$JS.ACK."+name+"."+account+".>", false)
		case name != "AGENT_MESSAGES" || slices.Contains(p.Feeds, "messages.>"):
			i.service("$JS.API.CONSUMER.MSG.NEXT."+name+".*", "$JS.API.CONSUMER.MSG.NEXT."+name+".*", false)
		}
	}
	i.stream(i.own+"outcomes.>", a.cfg.Prefix+"outcomes.>")
	for _, feed := range p.Feeds {
		i.stream(a.cfg.Prefix+feed, a.cfg.Prefix+feed)
	}
	return claims
}

func (a *Authority) devJWT() (string, error) {
	claims := newAccount(a.Dev(), "DEV")
	claims.Limits.MemoryStorage, claims.Limits.DiskStorage = devMemory, a.cfg.DevDisk
	claims.Limits.Streams, claims.Limits.Consumer = devStreams, devConsumers
	i := &importer{a: a, claims: claims, engine: a.Engine(), own: a.Root(a.Dev())}
	i.common()
	for _, name := range a.cfg.ReadRaw {
		i.service("$JS.API.DIRECT.GET."+name, ProxyRoot+"DIRECT.GET."+name, false)
		i.service("$JS.API.DIRECT.GET."+name+".>", ProxyRoot+"DIRECT.GET."+name+".>", false)
		consumers := "*"
		if name == TaskStream {
			consumers = TaskConsumer
		}
		i.service("$JS.API.CONSUMER.MSG.NEXT."+name+"."+consumers, ProxyRoot+"CONSUMER.MSG.NEXT."+name+"."+consumers, false)
		i.service("$JS.ACK."+name+"."+consumers+".>", AckRoot+name+"."+consumers+".>", false)
	}
	for _, feed := range a.feeds() {
		i.stream(feed, feed)
	}
	claims.Mappings = jwt.Mapping{
		"$JS.API.>":      {{Subject: ProxyRoot + ">"}},
		OwnAPIRoot + ">": {{Subject: "$JS.API.>"}},

		"$JS.ACK.>":                      {{Subject: AckRoot + ">"}},
		jwt.Subject(OwnAckRoot(a) + ">"): {{Subject: "$JS.ACK.>"}},
	}
	for _, feed := range a.feeds() {
		claims.Mappings[jwt.Subject(feed)] = []jwt.WeightedMapping{{Subject: jwt.Subject(Forbidden + feed)}}
	}
	claims.DefaultPermissions = a.anonymousPermissions()
	return encode(claims, a.keys.Operator)
}

// OwnAckRoot is how the gate acknowledges in the JetStream of DEV. No client may: it has a
// token that none can compute, as permissions are compared with what a subject is mapped to.
func OwnAckRoot(a interface{ Digest(text string) string }) string {
	return "tmack." + a.Digest("acknowledgements of DEV") + "."
}

// feeds are what the engine publishes and DEV hears.
func (a *Authority) feeds() []string {
	return []string{a.cfg.Prefix + "agents.>", a.cfg.Prefix + "tasks.>", a.cfg.Prefix + "messages.>", a.cfg.Prefix + "outcomes.>"}
}
