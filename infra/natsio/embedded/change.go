package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/tidemark-engine/tidemark/infra/natsio/auth"
)

// apply updates an account that the server has; text = "" only loads it.
func (s *Server) apply(account, text string) {
	acc, err := s.ns.LookupAccount(account)
	if err != nil {
		s.log.Error("the account of a principal cannot be loaded", "account", account, "error", err)
		return
	}
	if text == "" {
		return
	}
	claims, err := jwt.DecodeAccountClaims(text)
	if err == nil {
		err = s.change(acc, claims)
	}
	if err != nil {
		s.log.Error("the account of a principal cannot be changed", "account", account, "error", err)
	}
}

// change gives an account new claims. The server adds the imports of the new claims one
// by one and removes the old ones last. Between these it asks for the account of an
// import that does not exist: that is the moment at which the mappings change from the
// old imports of requests to the new ones, see auth.NumberedRoot. So every request has
// one import, and always one.
func (s *Server) change(acc *server.Account, claims *jwt.AccountClaims) error {
	now, err := s.ns.Accountz(&server.AccountzOptions{Account: acc.Name})
	if err != nil {
		return fmt.Errorf("read its mappings: %w", err)
	}
	wanted := claims.Mappings
	claims.Mappings = jwt.Mapping{}
	for subject, to := range now.Account.Mappings {
		for _, m := range to {
			claims.Mappings[jwt.Subject(subject)] = append(claims.Mappings[jwt.Subject(subject)], jwt.WeightedMapping{Subject: jwt.Subject(m.Subject), Weight: m.Weight})
		}
	}
	lead := sync.OnceValue(func() (failed error) {
		for subject, to := range wanted {
			failed = errors.Join(failed, acc.AddMapping(string(subject), string(to[0].Subject)))
		}
		return failed
	})
	pair, err := nkeys.CreateAccount()
	if err != nil {
		return err
	}
	moment, err := pair.PublicKey()
	if err != nil {
		return err
	}
	slices.SortStableFunc(claims.Imports, func(a, b *jwt.Import) int { return cmp.Compare(others(a), others(b)) })
	at := slices.IndexFunc(claims.Imports, func(i *jwt.Import) bool { return others(i) > 0 })
	if at >= 0 {
		claims.Imports = slices.Insert(claims.Imports, at, &jwt.Import{Name: "moment", Subject: "x", Account: moment, Type: jwt.Service})
	}
	s.moments.Store(moment, lead)
	s.ns.UpdateAccountClaims(acc, claims)
	s.moments.Delete(moment)
	return lead()
}

// others is 1 for imports that are not of requests.
func others(i *jwt.Import) int {
	if strings.HasPrefix(string(i.LocalSubject), auth.NumberedRoot) {
		return 0
	}
	return 1
}

// onTheWay is how long the old imports stay for requests that were mapped to them before
// the mappings changed and have not been delivered.
const onTheWay = 250 * time.Millisecond

// errMoment is the answer to the server that asks for an account which is a moment of
// a change.
var errMoment = errors.New("no account: a moment of a change")

// resolver gives the server the JWTs of its accounts.
type resolver struct {
	*auth.Authority
	moments *sync.Map // what to do when the server asks for an account, by account
}

// Fetch implements server.AccountResolver.
func (r resolver) Fetch(account string) (string, error) {
	if do, ok := r.moments.Load(account); ok {
		_ = do.(func() error)() // change returns its error
		time.Sleep(onTheWay)
		return "", errMoment
	}
	return r.Authority.Fetch(account)
}

func (resolver) Start(*server.Server) error { return nil }
func (resolver) IsReadOnly() bool           { return true }
func (resolver) IsTrackingUpdate() bool     { return false }
func (resolver) Reload() error              { return nil }
func (resolver) Close()                     {}
func (resolver) Store(string, string) error {
	return errors.New("this server's accounts are made with engine auth")
}
