package natsio

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// QuotaError says which limit of the account or the server does not permit a
// stream or consumer.
type QuotaError struct {
	What string // "create stream EVENTS"
	Need string // the limit and what to do
	Err  error
}

func (e *QuotaError) Error() string { return e.What + ": " + e.Need + " (" + e.Err.Error() + ")" }

func (e *QuotaError) Unwrap() error { return e.Err }

// storageCodes mean that no room is left for the size limit of a stream.
var storageCodes = []jetstream.ErrorCode{
	CodeNoResources, CodeStorageExceeded, CodeMemoryExceeded, CodeAccountResources, CodeMaxStreamBytes,
}

// quotaError explains why a stream could not be created.
func quotaError(ctx context.Context, js jetstream.JetStream, stream string, err error) error {
	what := "create stream " + stream
	need := ""
	switch {
	case HasCode(err, CodeMaxStreams):
		need = "the NATS account permits no more streams; raise max_streams"
		if info, ierr := js.AccountInfo(ctx); ierr == nil {
			need = fmt.Sprintf("the NATS account has %d streams and permits no more; raise max_streams", info.Streams)
		}
	case HasCode(err, CodeMaxBytesRequired):
		need = "the NATS account demands a size limit for every stream (max_bytes_required) and has no storage left for one; raise max_file or max_mem"
	case HasCode(err, storageCodes...):
		need = "the NATS account or server has no storage left; raise max_file and max_mem of the account, max_file_store and max_memory_store of the server"
	case HasCode(err, CodeNoTier):
		need = "the NATS account has no JetStream tier for this number of replicas; add one"
	case HasCode(err, CodeNotEnabled, CodeNotEnabledForAccount):
		need = "JetStream is off for this NATS account; enable it"
	case HasCode(err, CodeNoPeers):
		need = "no NATS server can keep the stream; are enough servers up, with JetStream and free storage?"
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
	return &QuotaError{What: what, Need: need, Err: err}
}

// ConsumerError explains why a consumer could not be created.
func ConsumerError(stream, consumer string, err error) error {
	what := fmt.Sprintf("create consumer %s of stream %s", consumer, stream)
	if HasCode(err, CodeMaxConsumers) {
		return &QuotaError{What: what, Need: "the NATS account permits no more consumers on a stream; raise max_consumers", Err: err}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// CheckAccount fails if the account has no JetStream, or does not permit the
// streams of names that are missing, or fewer than consumers on one stream. Servers
// that have no leader yet do not answer: it asks them again until ctx ends.
func CheckAccount(ctx context.Context, js jetstream.JetStream, names []string, consumers int) error {
	return Attempt(ctx, func(ctx context.Context) error { return checkAccount(ctx, js, names, consumers) })
}

func checkAccount(ctx context.Context, js jetstream.JetStream, names []string, consumers int) error {
	info, err := js.AccountInfo(ctx)
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return &QuotaError{What: "use JetStream", Need: "JetStream is off for this NATS server or account; enable it", Err: err}
	}
	if err != nil {
		return fmt.Errorf("read the limits of the NATS account: %w", err)
	}
	if limit := info.Limits.MaxConsumers; limit > 0 && limit < consumers {
		return fmt.Errorf("the NATS account permits %d consumers on a stream, this engine needs %d: raise max_consumers", limit, consumers)
	}
	if info.Limits.MaxStreams <= 0 {
		return nil
	}
	missing := slices.Clone(names)
	list := js.StreamNames(ctx)
	for name := range list.Name() {
		missing = slices.DeleteFunc(missing, func(m string) bool {
			return m == name || m == StreamName(0, 1) && name == StreamName(0, 2) // a journal with partitions
		})
	}
	if err := list.Err(); err != nil {
		return fmt.Errorf("list the streams of the NATS account: %w", err)
	}
	if free := info.Limits.MaxStreams - info.Streams; len(missing) > free {
		return fmt.Errorf("the NATS account permits %d streams and has %d, this engine needs %d more: raise max_streams to at least %d",
			info.Limits.MaxStreams, info.Streams, len(missing), info.Streams+len(missing))
	}
	return nil
}
