package auth

import (
	"time"

	"github.com/nats-io/jwt/v2"
)

// Anonymous is the JWT of clients without credentials. The server writes it into
// each of their requests, so it is short: what they may do is in the JWT of DEV.
func (a *Authority) Anonymous() (string, error) {
	claims := jwt.NewUserClaims(public(a.keys.DevUser))
	claims.Name, claims.BearerToken = "anonymous", true
	return encode(claims, a.keys.Dev)
}

// anonymousPermissions are those of clients without credentials. They may overhear
// each other, but can neither take requests that are for the engine nor publish what
// only the engine publishes.
func (a *Authority) anonymousPermissions() jwt.Permissions {
	var p jwt.Permissions
	prefix := a.cfg.Prefix
	p.Pub.Allow.Add(">") // Resp alone would allow nothing else
	p.Pub.Deny.Add(Forbidden+">", "$JS.API.>", "_R_.>", prefix+"tm.>", "_INBOX.>")
	p.Pub.Deny.Add(a.cfg.Denied...)
	p.Pub.Deny.Add(a.feeds()...) // the server sends traces where a header says, without the mappings
	p.Sub.Deny.Add(prefix+"commands.>", prefix+"queries.>", prefix+"enqueue.>", "$SRV.>", ProxyRoot+">", OwnAPIRoot+">",
		"$JS.API.>", "$JS.ACK.>", "$JS.FC.>", prefix+"tm.>", Forbidden+">")
	// They answer requests of each other. The server counts by reply subject, requests with
	// the same one together, so a number would lose the reply of a client with one inbox.
	p.Resp = &jwt.ResponsePermission{MaxMsgs: -1, Expires: 5 * time.Minute}
	return p
}

// EngineUser is the user of the engine's connections.
func (a *Authority) EngineUser() (userJWT, seed string, err error) {
	claims := jwt.NewUserClaims(public(a.keys.EngineUser))
	claims.Name = "engine"
	userJWT, err = encode(claims, a.keys.Engine)
	return userJWT, a.keys.EngineUser, err
}

// GateUser is the user of the gate's connection in DEV.
func (a *Authority) GateUser() (userJWT, seed string, err error) {
	claims := jwt.NewUserClaims(public(a.keys.GateUser))
	claims.Name = "gate"
	claims.Pub.Allow.Add(">") // in place of the permissions of the account
	claims.Sub.Allow.Add(">")
	userJWT, err = encode(claims, a.keys.Dev)
	return userJWT, a.keys.GateUser, err
}

// EngineCreds is the credentials file of EngineUser.
func (a *Authority) EngineCreds() ([]byte, error) {
	text, seed, err := a.EngineUser()
	if err != nil {
		return nil, err
	}
	return jwt.FormatUserConfig(text, []byte(seed))
}
