package topology

import (
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// reserved adds up what streams reserve. One server refuses to reserve more
// than it has, and then what is left is shared; a cluster looks at each stream
// alone (measured on 2.15), so the sum is said.
func (p *Planner) reserved(a *asking, f *facts, all []*wanted, ask bool) ([]Check, error) {
	var checks []Check
	for _, storage := range []jetstream.StorageType{jetstream.FileStorage, jetstream.MemoryStorage} {
		r := reservation{p: p, f: f, storage: storage}
		for _, w := range all {
			if w.cfg.Storage == storage {
				r.add(w)
			}
		}
		var err error
		switch {
		case f.cluster != "":
			r.inCluster()
		case ask:
			err = r.onServer(a)
		default:
			r.asGranted()
		}
		if err != nil {
			return nil, err
		}
		checks = append(checks, r.check)
	}
	return checks, nil
}

// reservation is what the streams of one kind of storage reserve.
type reservation struct {
	p       *Planner
	f       *facts
	storage jetstream.StorageType
	streams []*wanted
	sum     int64 // on each server that has a replica of each
	total   int64 // with replicas
	grow    int64 // of sum, what is not reserved yet
	check   Check
}

func (r *reservation) add(w *wanted) {
	r.streams = append(r.streams, w)
	r.sum += max(w.cfg.MaxBytes, 0)
	r.total += max(w.cfg.MaxBytes, 0) * int64(w.cfg.Replicas)
	r.grow += r.growth(w)
}

// growth is what a stream would reserve more than it does.
func (r *reservation) growth(w *wanted) int64 {
	has := int64(0)
	if live := r.f.streams[w.cfg.Name]; live != nil {
		has = max(live.Config.MaxBytes, 0)
	}
	return max(w.cfg.MaxBytes-has, 0)
}

func (r *reservation) name() string { return strings.ToLower(r.storage.String()) }

// limit is the account's; -1 = none.
func (r *reservation) limit() int64 {
	if r.storage == jetstream.MemoryStorage {
		return r.f.limits.Limits.MaxMemory
	}
	return r.f.limits.Limits.MaxStore
}

func (r *reservation) inCluster() {
	r.check = Check{r.name(), OK, fmt.Sprintf("%s on each server that has a replica of all, %s with replicas; a cluster does not add them up, so compare it with each server's max_%s_store",
		size(r.sum), size(r.total), r.name())}
	if limit := r.limit(); limit >= 0 && len(r.f.limits.Tiers) == 0 && r.total > limit {
		r.check.Level = Refused
		r.check.Text = fmt.Sprintf("%s with replicas are more than the account's limit of %s", size(r.total), size(limit))
	}
}

// onServer asks one server for what is not reserved yet.
func (r *reservation) onServer(a *asking) error {
	for _, w := range r.streams {
		delete(r.p.granted, w.cfg.Name)
	}
	r.check = Check{r.name(), OK, size(r.sum) + " are reserved"}
	if r.grow == 0 {
		return nil
	}
	no, err := a.probe(r.storage, r.grow, 1, nil)
	if err != nil {
		return err
	}
	if no == nil {
		r.check.Text = fmt.Sprintf("%s in all, %s of them are still to be reserved, and the server has them", size(r.sum), size(r.grow))
		return nil
	}
	return r.share(a, no)
}

// least is the smallest limit worth setting.
const least = 16 << 20

// share gives each missing stream its part of half of what the server has left,
// so that the journal, which reserves nothing, keeps the other half. What is
// there already stays as it is.
func (r *reservation) share(a *asking, no *jetstream.APIError) error {
	has, missing, err := r.room(a)
	if err != nil {
		return err
	}
	r.check.Level = Warn
	r.check.Text = fmt.Sprintf("%s in all, %s of them are still to be reserved, but the server has not (%s)", size(r.sum), size(r.grow), no.Description)
	if missing > 0 {
		r.check.Text += fmt.Sprintf("; half of the %s it has is shared out", size(has))
	}
	for _, w := range r.streams {
		if r.growth(w) == 0 {
			continue
		}
		written := w.cfg.MaxBytes
		if live := r.f.streams[w.cfg.Name]; live != nil {
			w.cfg.MaxBytes = live.Config.MaxBytes
			r.grant(w, written, "as it was made: the server cannot reserve more")
			continue
		}
		part := int64(float64(has) / 2 * float64(written) / float64(missing))
		w.cfg.MaxBytes = part >> 20 << 20
		reason := fmt.Sprintf("the server can reserve only %s more: this stream's part of half of it, the other half is the journal's", size(has))
		if w.cfg.MaxBytes < least {
			w.cfg.MaxBytes, reason = -1, "the server can reserve next to nothing: no limit of its own, only the server's"
		}
		r.grant(w, written, reason)
	}
	return nil
}

func (r *reservation) grant(w *wanted, written int64, reason string) {
	w.mapped("max_bytes", size(written), size(limit(w.cfg.MaxBytes)), reason)
	r.p.granted[w.cfg.Name] = w.cfg.MaxBytes
}

// room finds what the server can still reserve, to 16 MiB, and what the missing
// streams would.
func (r *reservation) room(a *asking) (has, missing int64, err error) {
	for _, w := range r.streams {
		if r.f.streams[w.cfg.Name] == nil {
			missing += r.growth(w)
		}
	}
	if missing == 0 {
		return 0, 0, nil
	}
	low, high := int64(0), r.grow
	for high-low > least {
		middle := low + (high-low)/2
		no, err := a.probe(r.storage, middle, 1, nil)
		if err != nil {
			return 0, 0, err
		}
		if no != nil {
			high = middle
		} else {
			low = middle
		}
	}
	return low >> 20 << 20, missing, nil
}

// asGranted takes what the last full plan found as given.
func (r *reservation) asGranted() {
	r.check = Check{r.name(), OK, size(r.sum) + " are reserved"}
	for _, w := range r.streams {
		if bytes, ok := r.p.granted[w.cfg.Name]; ok {
			written := w.cfg.MaxBytes
			w.cfg.MaxBytes = bytes
			w.mapped("max_bytes", size(written), size(limit(bytes)), "the server could not reserve more when it was asked last")
			r.check.Level, r.check.Text = Warn, size(r.sum)+" are written, the server cannot reserve them all"
		}
	}
}
