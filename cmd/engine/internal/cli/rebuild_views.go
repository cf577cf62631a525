package cli

import (
	"context"

	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/infra/natsio/feeds"
	"github.com/tidemark-engine/tidemark/infra/natsio/hot"
	"github.com/tidemark-engine/tidemark/infra/pg/durable"
	"github.com/tidemark-engine/tidemark/projections/rebuild"
)

func (c *rebuilding) durable(ctx context.Context) error {
	if c.stores.DB == nil {
		return c.withoutSQL()
	}
	if c.Plan {
		p, err := durable.PlanShadow(ctx, c.stores.DB, c.stores.History())
		if err != nil {
			return err
		}
		return c.printShadowPlan(&p)
	}
	show := c.steps()
	done, err := c.stores.RebuildDurable(ctx, c.Accept, show.step)
	show.bar.End()
	if err != nil {
		return err
	}
	return c.printRebuilt(done)
}

func (c *rebuilding) hot(ctx context.Context) error {
	if c.Plan {
		return c.planFold(ctx, "hot", "the keys that differ are rewritten one by one; readers and watchers see every other key meanwhile")
	}
	if err := c.createBuckets(ctx); err != nil {
		return err
	}
	h, err := deployment.OpenHot(ctx, c.nc, c.stores.Journal)
	if err != nil {
		return err
	}
	if !c.Accept {
		if err := h.Resume(ctx); err != nil {
			return err
		}
	}
	show := c.steps()
	done, err := c.stores.RebuildHot(ctx, h.Hot, c.caughtUp("hot"), show.step)
	show.bar.End()
	if err != nil {
		return err
	}
	if c.Accept {
		for p, head := range done.Heads {
			h.Progress.Reset(p, head)
		}
		if err := h.MarkRebuilt(ctx); err != nil {
			return err
		}
	}
	return c.printRestored(done, "these rows still differ: is a bucket full, or does another program write to it?")
}

// createBuckets creates the buckets that are missing.
func (c *rebuilding) createBuckets(ctx context.Context) error {
	buckets := []hot.BucketConfig{hot.AgentStateBucket}
	for _, cfg := range deployment.DocBuckets {
		buckets = append(buckets, cfg)
	}
	for _, cfg := range buckets {
		cfg.Embedded = c.embedded
		if _, err := hot.OpenBucket(ctx, c.nc, cfg, c.log); err != nil {
			return err
		}
	}
	return nil
}

func (c *rebuilding) archive(ctx context.Context) error {
	if c.stores.DB == nil {
		return c.withoutSQL()
	}
	if c.Plan {
		return c.planFold(ctx, deployment.ArchiveView, "archived events that are missing or differ are written again from the journal")
	}
	if c.Accept {
		schema, err := rebuild.DetachArchive(ctx, c.stores.History(), c.stores.Archive())
		if err != nil {
			return err
		}
		if schema != "" {
			if err := c.printDetached(schema); err != nil {
				return err
			}
			if err := rebuild.AwaitArchive(ctx, c.stores.History(), c.stores.Archive()); err != nil {
				return err
			}
		}
	}
	show := c.steps()
	done, err := c.stores.RebuildArchive(ctx, c.caughtUp(deployment.ArchiveView), show.step)
	show.bar.End()
	if err != nil {
		return err
	}
	return c.printRestored(done, "these events are no longer in the journal: only an export has them (engine archive import)")
}

func (c *rebuilding) feeds(ctx context.Context) error {
	if c.Plan {
		return c.planFold(ctx, "feeds", "the states that AGENT_STATE lacks are published at its end; nothing is removed")
	}
	streams, err := feeds.NewStreams(c.nc, c.Subjects(), c.embedded, c.log)
	if err != nil {
		return err
	}
	view := feeds.New(streams, c.stores.Journal)
	if c.Accept {
		if err := view.Accept(ctx); err != nil {
			return err
		}
		if err := feeds.NewMessages(streams, c.stores.Journal).Accept(ctx); err != nil {
			return err
		}
	}
	show := c.steps()
	done, err := view.Rebuild(ctx, show.step)
	show.bar.End()
	if err != nil {
		return err
	}
	return c.printRestored(done, "")
}

func (c *rebuilding) messages(ctx context.Context) error {
	if c.stores.DB == nil {
		return c.withoutSQL()
	}
	if c.Plan {
		return c.planFold(ctx, "messages", "messages that are missing or differ are stored again; the others keep their marks")
	}
	show := c.steps()
	done, err := c.stores.RebuildMessages(ctx, c.Accept, show.step)
	show.bar.End()
	if err != nil {
		return err
	}
	return c.printRestored(done, "")
}

// planFold shows the plan of a rebuild that needs no disk.
func (c *rebuilding) planFold(ctx context.Context, view, what string) error {
	p, err := rebuild.PlanFold(ctx, c.stores.History())
	if err != nil {
		return err
	}
	return c.printFoldPlan(view, what, &p)
}
