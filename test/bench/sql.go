package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// rawPool connects to the engine's database and creates the schema bench. Like the
// engine's views it does not wait for the disk.
func rawPool(ctx context.Context, e *engine, tables ...string) (*pgxpool.Pool, error) {
	s, err := e.status(ctx)
	if err != nil {
		return nil, err
	}
	return openPool(ctx, s.Postgres.URL, tables...)
}

func openPool(ctx context.Context, url string, tables ...string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	for _, sql := range append([]string{`CREATE SCHEMA IF NOT EXISTS bench`}, tables...) {
		if _, err := pool.Exec(ctx, sql); err != nil {
			pool.Close()
			return nil, err
		}
	}
	return pool, nil
}
