package main

import (
	"strings"
	"testing"
)

func TestArgumentsHideTheirSecrets(t *testing.T) {
	for _, c := range []struct{ args, shown string }{
		{"serve|--data|d|--nats|nats://u:SECRET@a", "serve|--data|d|--nats|nats://u:xxxxx@a"},
		{"--nats|u:SECRET@a:4222", "--nats|u:xxxxx@a:4222"},
		{"--server=SECRET@a", "--server=xxxxx@a"},
		{"--postgres=host=a password=SECRET user=b", "--postgres=host=a password=xxxxx user=b"},
		{"--postgres|password='SEC RET'", "--postgres|password=xxxxx"},
		{"--nats|nats://u:S@a", "--nats|nats://u:xxx"}, // no room for more
		{"postgres://u:SECRET@a", "postgres://u:xxxxx@a"},
	} {
		args := strings.Split(strings.Clone(c.args), "|")
		for i := range args {
			args[i] = string([]byte(args[i])) // memory of its own, which may be written
		}
		copies := hideArguments(args)
		if got := strings.Join(copies, "|"); got != c.args {
			t.Errorf("%s is read as %s", c.args, got)
		}
		for i := range args {
			args[i] = strings.TrimRight(args[i], " ")
		}
		if got := strings.Join(args, "|"); got != c.shown {
			t.Errorf("%s is shown as %s, want %s", c.args, got, c.shown)
		}
	}
}
