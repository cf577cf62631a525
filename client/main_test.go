package client_test

import (
	"context"
	"sync"
	"testing"

	"github.com/tidemark-engine/tidemark/client"
	"github.com/tidemark-engine/tidemark/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// engine is the one that all tests and examples of the package share.
var engine = sync.OnceValue(func() *harness.Engine { return harness.Start(harness.WholeRun(), harness.Config{}) })

// connect is what a program does first. An example stops at an error.
func connect(ctx context.Context, options ...client.Option) *client.Client {
	c, err := client.Connect(ctx, engine().NATSURL, options...)
	check(err)
	return c
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
