package main

import "context"

type verifyCmd struct{ target }

func (c *verifyCmd) Run(ctx context.Context, out *output) error { return nil }

type demoCmd struct{ target }

func (c *demoCmd) Run(ctx context.Context, out *output) error { return nil }
