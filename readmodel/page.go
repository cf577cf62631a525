package readmodel

// PageBytes is the size of a page: the default NATS server takes messages of 1 MiB, so a
// page also ends when its values fill it. The names and numbers of a row take less than
// RowRoom.
const (
	PageBytes = 768 << 10
	RowRoom   = 768
)

// PageRoom counts the rows of a page while they are read, so that none is read that has
// no room.
type PageRoom struct{ rows, bytes int }

// Add counts a row by the bytes of its values. It reports whether the page is full: this
// row is the first of the next page. A page has at least one row.
func (p *PageRoom) Add(values int) (full bool) {
	p.rows++
	p.bytes += values + RowRoom
	return p.rows > 1 && p.bytes > PageBytes
}
