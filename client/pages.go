package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"strings"
)

// pages reads all pages of a query: the rows under the member rows of the answers. It asks
// for the next page when the rows of the last one have been taken.
func pages[R any](rows string, body map[string]any, ask func(body map[string]any, page *map[string]json.RawMessage) error) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		var none R
		body := maps.Clone(body)
		for {
			var page map[string]json.RawMessage
			if err := ask(body, &page); err != nil {
				yield(none, err)
				return
			}
			var of []R
			if err := json.Unmarshal(page[rows], &of); err != nil {
				yield(none, fmt.Errorf("the answer has no %s that are readable: %w", rows, err))
				return
			}
			for _, row := range of {
				if !yield(row, nil) {
					return
				}
			}
			cursor, more := page["cursor"]
			if !more {
				return
			}
			body["cursor"] = cursor
		}
	}
}

// convert decodes each row of a sequence.
func convert[R, T any](rows iter.Seq2[R, error], decode func(R) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		for row, err := range rows {
			if err != nil {
				yield(none, err)
				return
			}
			if !yield(decode(row)) {
				return
			}
		}
	}
}

// rowsOf is the member of a query's answers that holds the rows.
func rowsOf(query string) string {
	switch {
	case query == "state.find":
		return "entries"
	case strings.HasSuffix(query, ".inbox"):
		return "messages"
	case strings.HasPrefix(query, "view."):
		return "rows"
	}
	name, _, _ := strings.Cut(query, ".")
	return name
}

// List reads all rows of a list: "agents.list", "tasks.list", "sessions.list",
// "claims.list", "reminders.list", "state.find", "view.orders.list" or "message.a1.inbox", with the filters of the
// wire contract: List[client.Task](ctx, c, "tasks.list", client.Where("status", "failed")).
func List[R any](ctx context.Context, c *Client, query string, options ...ReadOption) iter.Seq2[R, error] {
	return pages[R](rowsOf(query), reading(options, map[string]any{}), func(body map[string]any, page *map[string]json.RawMessage) error {
		return c.Read(ctx, query, body, page)
	})
}
