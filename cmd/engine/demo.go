package main

import "context"

type demoCmd struct{ target }

func (c *demoCmd) Run(ctx context.Context, out *output) error { return nil }
