package query

import (
	"errors"
	"testing"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/test/badinput"
)

// FuzzReadRequest reads a body as each query does, with the members that queries
// parse further.
func FuzzReadRequest(f *testing.F) {
	for _, c := range badinput.Queries() {
		f.Add([]byte(c.Body))
	}
	for _, body := range []string{
		``, `{}`, `{"key":"k"}`, `{"key":"k","token":"j.0-1","consistency":"hot"}`, `{"prefix":"p","limit":10,"cursor":"5","wait_ms":0,"max_age_ms":100}`,
		`{"at_time":"9999-12-31T23:59:59Z"}`, `{"at_revision":18446744073709551615,"key":"k"}`, `{"losers":true,"broadcasts":true}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for name, h := range handlers {
			in, err := readRequest(body, h.fields)
			errs := []error{err}
			if err == nil {
				_, past := in.pastPoint()
				_, below := in.below()
				_, key := in.key()
				errs = append(errs, past, below, key, in.cursorAfter(domain.CheckKey))
				if in.limit < 1 || in.limit > maxLimit || in.wait() < 0 || in.wait() > maxWait {
					t.Errorf("%s %q: limit %d, wait %s", name, body, in.limit, in.wait())
				}
			}
			for _, err := range errs {
				var known *domain.Error
				if err != nil && (!errors.As(err, &known) || known.Kind != domain.Invalid) {
					t.Errorf("%s %q: %v", name, body, err)
				}
			}
		}
	})
}
