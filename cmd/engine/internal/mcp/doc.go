// Package mcp serves the engine to language models over the Model Context Protocol.
//
// It is a client of the wire contract, by package client: each tool is a command or a
// query, and adds no rule of its own. A refusal of the engine is the result of a tool, which
// a model can act on, and no error of the protocol.
package mcp
