package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/tidemark-engine/tidemark/client"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/deployment"
	"github.com/tidemark-engine/tidemark/cmd/engine/internal/mcp"
	"github.com/tidemark-engine/tidemark/domain"
)

// MCP serves one client of the Model Context Protocol on standard input and output.
type MCP struct {
	deployment.Target
	Agent    string `help:"Write the state of this agent alone, and take it where a call names none." placeholder:"ID"`
	ReadOnly bool   `help:"Offer only the tools that read."`
}

// Validate refuses what no engine accepts.
func (c *MCP) Validate() error {
	if c.Agent == "" {
		return nil
	}
	return domain.CheckAgentID(c.Agent)
}

// Run implements the command.
func (c *MCP) Run(ctx context.Context, version Version) error {
	nc, err := c.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	engine, err := client.New(nc, client.WithPrefix(c.SubjectPrefix), client.WithPatience(c.Timeout), client.WithWriter("mcp"))
	if err != nil {
		return err
	}
	server := mcp.New(engine, mcp.Options{Agent: c.Agent, ReadOnly: c.ReadOnly, Version: string(version)})
	if err := server.Run(ctx, os.Stdin, os.Stdout); err != nil {
		return fmt.Errorf("mcp: %w", err)
	}
	return nil
}
