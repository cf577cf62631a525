// Package hot is the hot read model in NATS KV: one bucket for each kind of row. The hot
// view writes the buckets with compare-and-set and stores its position in them; reads use
// them as a tier in front of SQL. The package also keeps the query cache. It does not
// fold events and does not decide which tier answers a read.
package hot
