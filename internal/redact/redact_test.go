package redact_test

import (
	"strings"
	"testing"

	"github.com/tidemark-engine/tidemark/internal/redact"
)

func TestNoSecretIsShown(t *testing.T) {
	for raw, want := range map[string]string{
		"nats://127.0.0.1:4222":                        "nats://127.0.0.1:4222",
		"127.0.0.1:4222":                               "127.0.0.1:4222",
		"nats://[::1]:4222":                            "nats://[::1]:4222",
		"nats://u:SECRET@a:4222, nats://v:SECRET@b":    "nats://u:xxxxx@a:4222,nats://v:xxxxx@b",
		"nats://a:4222,tls://SECRET@b:4222":            "nats://a:4222,tls://xxxxx@b:4222",
		"SECRET@a:4222":                                "xxxxx@a:4222",
		"u:SECRET@a:4222,b":                            "u:xxxxx@a:4222,b",
		"nats://u:SECRET,SECRET@a":                     "",
		"nats://u:SEC:RET/@SECRET@a":                   "nats://u:xxxxx@a",
		"postgres://u@a:5432/db?sslmode=disable":       "postgres://u@a:5432/db?sslmode=disable",
		"postgres://u:SECRET@a,b:5433/db":              "postgres://u:xxxxx@a,b:5433/db",
		"postgres://u:SE/CRET@a/db":                    "postgres://u:xxxxx@a/db",
		"postgresql://a/db?user=u&password=SECRET&x=1": "postgresql://a/db?user=u&password=xxxxx&x=1",
		"postgres://a/db?sslpassword=SECRET":           "postgres://a/db?sslpassword=xxxxx",
		"postgres://u@/db?host=/run/pg&passfile=/d/p":  "postgres://u@/db?host=/run/pg&passfile=/d/p",
		"host=a user=u password=SECRET dbname=d":       "host=a user=u password=xxxxx dbname=d",
		`host=a password = 'SEC\' RET' user=u`:         `host=a password = xxxxx user=u`,
		"password='SECRET SECRET":                      "password=xxxxx",
	} {
		got := redact.URL(raw)
		if want != "" && got != want || strings.Contains(got, "SEC") || strings.Contains(got, "RET") {
			t.Errorf("%s is shown as %s, want %s", raw, got, want)
		}
	}
}

func TestTextHidesSecrets(t *testing.T) {
	for raw, want := range map[string]string{
		"nothing to hide, 1 = 1":                             "nothing to hide, 1 = 1",
		"connect to nats://127.0.0.1:4222: timeout":          "connect to nats://127.0.0.1:4222: timeout",
		"mail a@b.org about http://c":                        "mail a@b.org about http://c",
		"connect to nats://u:SECRET@a:4222: timeout":         "connect to nats://u:xxxxx@a:4222: timeout",
		"nats://SECRET@a:4222":                               "nats://xxxxx@a:4222",
		"nats://u:SECRET@a,nats://v:SECRET@b":                "nats://u:xxxxx@b",
		"unexpected argument postgres://u:SE/C@RET@a/db x":   "unexpected argument postgres://u:xxxxx@a/db x",
		"postgres://u@a/db":                                  "postgres://u@a/db",
		"--postgres=host=a password=SECRET user=u":           "--postgres=host=a password=xxxxx user=u",
		`parse "postgresql://a/db?password=SECRET": invalid`: `parse "postgresql://a/db?password=xxxxx": invalid`,
	} {
		if got := redact.Text(raw); got != want {
			t.Errorf("%s is shown as %s, want %s", raw, got, want)
		}
	}
}
