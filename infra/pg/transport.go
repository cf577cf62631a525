package pg

import (
	"crypto/tls"
	"net"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgxpool"
)

// TransportRisk is what the way to the servers of a PostgreSQL URL permits others to
// do; "" = nothing, for it stays on this machine or verifies the server.
func TransportRisk(url string) string {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return ""
	}
	risk := transportRisk(cfg.ConnConfig.Host, cfg.ConnConfig.TLSConfig)
	for _, f := range cfg.ConnConfig.Fallbacks {
		if r := transportRisk(f.Host, f.TLSConfig); r == inTheClear || risk == "" {
			risk = r
		}
	}
	return risk
}

const (
	inTheClear = "the connection to Postgres may be without TLS: others on the network can read and change everything; set sslmode=verify-full and sslrootcert in the URL"
	unverified = "the certificate of Postgres is not verified: another server can take its place; set sslmode=verify-full and sslrootcert in the URL"
)

func transportRisk(host string, t *tls.Config) string {
	switch {
	case filepath.IsAbs(host), host == "localhost", net.ParseIP(host).IsLoopback():
		return ""
	case t == nil:
		return inTheClear
	case t.InsecureSkipVerify && t.VerifyPeerCertificate == nil && t.VerifyConnection == nil:
		return unverified
	}
	return ""
}
