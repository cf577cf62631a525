package wait_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/tidemark-engine/tidemark/internal/wait"
)

func TestIdleLeavesEverySlot(t *testing.T) {
	var log []string
	refuse := ""
	stop, stopAll := context.WithCancel(t.Context())
	slot := func(name string) *wait.Slot {
		return &wait.Slot{Stop: stop, Enter: func() { log = append(log, "+"+name) }, Leave: func() error {
			if refuse == name {
				return errors.New("too many wait")
			}
			log = append(log, "-"+name)
			return nil
		}}
	}
	ctx := wait.WithSlot(wait.WithSlot(t.Context(), slot("outer")), slot("inner"))
	waits := func(context.Context) { log = append(log, "wait") }
	for _, c := range []struct {
		ctx    context.Context
		refuse string
		want   []string
	}{
		{t.Context(), "", []string{"wait"}},
		{ctx, "", []string{"-inner", "-outer", "wait", "+outer", "+inner"}},
		{ctx, "outer", []string{"-inner", "+inner"}},
		{ctx, "inner", nil},
	} {
		log, refuse = nil, c.refuse
		if err := wait.Idle(c.ctx, waits); (err != nil) != (c.refuse != "") || !slices.Equal(log, c.want) {
			t.Errorf("refused by %q: %q, %v", c.refuse, log, err)
		}
	}
	refuse = ""
	if err := wait.Idle(ctx, func(ctx context.Context) { stopAll(); <-ctx.Done() }); err != nil || ctx.Err() != nil {
		t.Errorf("a stop ends the wait alone: %v, %v", err, ctx.Err())
	}
}
