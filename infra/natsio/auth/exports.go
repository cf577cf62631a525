package auth

import (
	"github.com/nats-io/jwt/v2"
)

func (a *Authority) engineJWT() (string, error) {
	return encode(a.engineClaims(), a.keys.Operator)
}

func (a *Authority) engineClaims() *jwt.AccountClaims {
	claims := newAccount(a.Engine(), EngineAccount)
	claims.Limits.Subs, claims.Limits.Conn = jwt.NoLimit, jwt.NoLimit
	claims.Limits.MemoryStorage, claims.Limits.DiskStorage = jwt.NoLimit, jwt.NoLimit
	claims.Limits.Streams, claims.Limits.Consumer = jwt.NoLimit, jwt.NoLimit
	service := func(subject string, responses jwt.ResponseType, position uint) {
		claims.Exports.Add(&jwt.Export{Name: subject, Subject: jwt.Subject(subject), Type: jwt.Service, ResponseType: responses, AccountTokenPosition: position})
	}
	stream := func(subject string, position uint) {
		claims.Exports.Add(&jwt.Export{Name: subject, Subject: jwt.Subject(subject), Type: jwt.Stream, AccountTokenPosition: position})
	}
	own := a.cfg.Prefix + "tm.*."
	for _, requests := range []string{"commands.>", "queries.>", "intake.>"} {
		service(own+requests, jwt.ResponseTypeSingleton, a.position())
	}
	service(own+"api.>", jwt.ResponseTypeStream, a.position())
	service("$SRV.*", jwt.ResponseTypeStream, 0)
	service("$SRV.*.tidemark", jwt.ResponseTypeStream, 0)
	service("$SRV.*.tidemark.*", jwt.ResponseTypeSingleton, 0)
	for _, name := range a.cfg.ReadRaw {
		service("$JS.API.DIRECT.GET."+name, jwt.ResponseTypeStream, 0)
		service("$JS.API.DIRECT.GET."+name+".>", jwt.ResponseTypeSingleton, 0)
		service("$JS.FC."+name+".>", jwt.ResponseTypeSingleton, 0)
		// Only this package makes accounts: the imports say whose consumers
		// an account may use.
		service("$JS.API.CONSUMER.MSG.NEXT."+name+".*", jwt.ResponseTypeStream, 0)
		service("$JS.ACK."+name+".*.>", jwt.ResponseTypeStream, 0)
	}
	stream(own+"inbox.>", a.position())
	stream(own+"outcomes.>", a.position())
	for _, feed := range []string{"agents.>", "tasks.>", "messages.>", "outcomes.>"} {
		stream(a.cfg.Prefix+feed, 0)
	}
	return claims
}
