package durable

import (
	"github.com/jackc/pgx/v5"

	"github.com/tidemark-engine/tidemark/readmodel"
)

// collectPage reads rows until a page has no room for the next; size returns the bytes of
// a row's values.
func collectPage[R any](rows pgx.Rows, size func(*R) int, scan pgx.RowToFunc[R]) ([]R, error) {
	defer rows.Close()
	page := []R{}
	var room readmodel.PageRoom
	for rows.Next() {
		row, err := scan(rows)
		if err != nil {
			return nil, err
		}
		if page = append(page, row); room.Add(size(&page[len(page)-1])) {
			return page, nil
		}
	}
	return page, rows.Err()
}
