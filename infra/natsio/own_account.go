package natsio

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/nats-io/nats.go"
)

// OwnAccount is the account of a connection, as the server names it: a public key in
// operator mode, "$G" without accounts.
func OwnAccount(ctx context.Context, nc *nats.Conn) (string, error) {
	m, err := nc.RequestWithContext(ctx, "$SYS.REQ.USER.INFO", nil)
	if err != nil {
		return "", err
	}
	var info struct {
		Data struct {
			Account string `json:"account"`
		} `json:"data"`
	}
	if err := json.Unmarshal(m.Data, &info); err != nil {
		return "", err
	}
	if info.Data.Account == "" {
		return "", errors.New("the server does not name it")
	}
	return info.Data.Account, nil
}
