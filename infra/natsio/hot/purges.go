package hot

import "github.com/tidemark-engine/tidemark/infra/natsio"

// FollowPurges is natsio.FollowPurges on the connection of the view's buckets.
func (t *Hot) FollowPurges(purged func(stream, connection string)) (end func(), err error) {
	return natsio.FollowPurges(t.entries.nc, purged)
}

// Purged notes that another program has purged a bucket, also of some keys only: the
// next Check then reports lost rows. Other streams are ignored. Without it, the audit
// finds the missing rows later.
func (t *Hot) Purged(stream, connection string) {
	for _, b := range t.buckets() {
		if stream != "KV_"+b.name {
			continue
		}
		t.mu.Lock()
		t.losses[b]++
		t.mu.Unlock()
		b.log.Warn("another program has purged the bucket; what is missing is put again", "bucket", b.name, "connection", connection)
	}
}
