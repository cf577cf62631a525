package console

import (
	"strconv"

	"github.com/a-h/templ"
)

// eventURL is the page of an event.
func eventURL(partition int, revision uint64) templ.SafeURL {
	u := "/events/" + text(revision)
	if partition > 0 {
		u += "?partition=" + strconv.Itoa(partition)
	}
	return templ.SafeURL(u)
}
