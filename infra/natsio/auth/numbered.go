package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/nats-io/jwt/v2"
)

// NumberedRoot is where a principal's account maps its requests.
const NumberedRoot = "tmat."

// numberedClaims are the claims of a principal with imports of requests whose local
// subjects are new after each change. While it changes an account, the server keeps an
// import that the account had before beside the same one in the new claims, and sends
// each request twice. The mappings lead to the new imports alone. Requests of the
// JetStream API change nothing when they are sent twice.
func (a *Authority) numberedClaims(p *principal) (*jwt.AccountClaims, error) {
	claims := a.principalClaims(p, p.Account, a.Engine())
	text, err := json.Marshal(claims)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	root := NumberedRoot + hex.EncodeToString(sum[:6]) + "."
	for _, subject := range []string{a.cfg.Prefix + "commands.", a.cfg.Prefix + "queries.", a.cfg.Prefix + "enqueue."} {
		claims.Mappings[jwt.Subject(subject+">")] = []jwt.WeightedMapping{{Subject: jwt.Subject(root + subject + ">")}}
		for _, i := range claims.Imports {
			if i.Type == jwt.Service && strings.HasPrefix(string(i.LocalSubject), subject) {
				i.LocalSubject = jwt.RenamingSubject(root) + i.LocalSubject
			}
		}
	}
	return claims, nil
}
