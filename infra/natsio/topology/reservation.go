package topology

import (
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// checkReservations adds up the bytes that streams reserve. A single server
// refuses to reserve more than it has; then the planner divides what is left.
// A cluster checks each stream alone (seen with 2.15), so the check only
// reports the sum.
func (p *Planner) checkReservations(a *api, server *serverState, all []*desired, probe bool) ([]Check, error) {
	var checks []Check
	for _, storage := range []jetstream.StorageType{jetstream.FileStorage, jetstream.MemoryStorage} {
		r := reservation{p: p, server: server, storage: storage}
		for _, d := range all {
			if d.cfg.Storage == storage {
				r.add(d)
			}
		}
		var err error
		switch {
		case server.cluster != "":
			r.checkCluster()
		case probe:
			err = r.checkSingle(a)
		default:
			r.useGranted()
		}
		if err != nil {
			return nil, err
		}
		checks = append(checks, r.check)
	}
	return checks, nil
}

// reservation is what the streams of one storage type reserve, in bytes.
type reservation struct {
	p       *Planner
	server  *serverState
	storage jetstream.StorageType
	streams []*desired
	sum     int64 // one replica of each stream
	total   int64 // all replicas
	grow    int64 // the part of sum that is not reserved yet
	check   Check
}

func (r *reservation) add(d *desired) {
	r.streams = append(r.streams, d)
	r.sum += max(d.cfg.MaxBytes, 0)
	r.total += max(d.cfg.MaxBytes, 0) * int64(d.cfg.Replicas)
	r.grow += r.growth(d)
}

// growth is what a stream would reserve in addition.
func (r *reservation) growth(d *desired) int64 {
	reserved := int64(0)
	if live := r.server.streams[d.cfg.Name]; live != nil {
		reserved = max(live.Config.MaxBytes, 0)
	}
	return max(d.cfg.MaxBytes-reserved, 0)
}

func (r *reservation) name() string { return strings.ToLower(r.storage.String()) }

// accountLimit is -1 if the account has none.
func (r *reservation) accountLimit() int64 {
	if r.storage == jetstream.MemoryStorage {
		return r.server.account.Limits.MaxMemory
	}
	return r.server.account.Limits.MaxStore
}

func (r *reservation) checkCluster() {
	r.check = Check{r.name(), OK, fmt.Sprintf("%s on each server with a replica of every stream, %s with all replicas; a cluster does not check the sum, so compare it with each server's max_%s_store",
		size(r.sum), size(r.total), r.name())}
	if limit := r.accountLimit(); limit >= 0 && len(r.server.account.Tiers) == 0 && r.total > limit {
		r.check.Level = Refused
		r.check.Text = fmt.Sprintf("%s with all replicas exceed the account's limit of %s", size(r.total), size(limit))
	}
}

// checkSingle probes a single server for what is not reserved yet.
func (r *reservation) checkSingle(a *api) error {
	for _, d := range r.streams {
		delete(r.p.granted, d.cfg.Name)
	}
	r.check = Check{r.name(), OK, size(r.sum) + " are reserved"}
	if r.grow == 0 {
		return nil
	}
	refusal, err := a.probe(r.storage, r.grow, 1, nil)
	if err != nil {
		return err
	}
	if refusal == nil {
		r.check.Text = fmt.Sprintf("%s in all, %s of them not reserved yet but available", size(r.sum), size(r.grow))
		return nil
	}
	return r.divide(a, refusal)
}

// minLimit is the smallest limit worth setting, and the precision of available.
const minLimit = 16 << 20

// divide gives the missing streams half of the space that the server has left,
// in proportion. The journal, which reserves nothing, keeps the other half.
// Existing streams stay as they are.
func (r *reservation) divide(a *api, refusal *jetstream.APIError) error {
	free, missing, err := r.available(a)
	if err != nil {
		return err
	}
	r.check.Level = Warn
	r.check.Text = fmt.Sprintf("%s in all, %s of them not reserved yet and more than the server has left (%s)", size(r.sum), size(r.grow), refusal.Description)
	if missing > 0 {
		r.check.Text += fmt.Sprintf("; the missing streams share half of the %s left", size(free))
	}
	for _, d := range r.streams {
		if r.growth(d) == 0 {
			continue
		}
		written := d.cfg.MaxBytes
		if live := r.server.streams[d.cfg.Name]; live != nil {
			d.cfg.MaxBytes = live.Config.MaxBytes
			r.grant(d, written, "unchanged: the server cannot reserve more")
			continue
		}
		part := int64(float64(free) / 2 * float64(written) / float64(missing))
		d.cfg.MaxBytes = part >> 20 << 20
		reason := fmt.Sprintf("the server can reserve only %s more: this is the stream's share of half of it, the other half is for the journal", size(free))
		if d.cfg.MaxBytes < minLimit {
			d.cfg.MaxBytes, reason = -1, "the server can reserve almost nothing: no limit but the server's own"
		}
		r.grant(d, written, reason)
	}
	return nil
}

func (r *reservation) grant(d *desired, written int64, reason string) {
	d.mapped("max_bytes", size(written), sizeLimit(d.cfg.MaxBytes), reason)
	r.p.granted[d.cfg.Name] = d.cfg.MaxBytes
}

// available finds by probes what the server can still reserve; missing is what
// the missing streams need.
func (r *reservation) available(a *api) (free, missing int64, err error) {
	for _, d := range r.streams {
		if r.server.streams[d.cfg.Name] == nil {
			missing += r.growth(d)
		}
	}
	if missing == 0 {
		return 0, 0, nil
	}
	low, high := int64(0), r.grow
	for high-low > minLimit {
		middle := low + (high-low)/2
		refusal, err := a.probe(r.storage, middle, 1, nil)
		if err != nil {
			return 0, 0, err
		}
		if refusal != nil {
			high = middle
		} else {
			low = middle
		}
	}
	return low >> 20 << 20, missing, nil
}

// useGranted uses the limits of the last probes.
func (r *reservation) useGranted() {
	r.check = Check{r.name(), OK, size(r.sum) + " are reserved"}
	for _, d := range r.streams {
		if bytes, ok := r.p.granted[d.cfg.Name]; ok {
			written := d.cfg.MaxBytes
			d.cfg.MaxBytes = bytes
			d.mapped("max_bytes", size(written), sizeLimit(bytes), "the server could not reserve more at the last probe")
			r.check.Level, r.check.Text = Warn, size(r.sum)+" in all, more than the server can reserve"
		}
	}
}
