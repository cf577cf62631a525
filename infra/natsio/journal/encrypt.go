package journal

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// Encrypted returns the id of the key store whose keys encrypt the journal, "" = it is
// not encrypted, as of when the journal was opened.
func (j *Journal) Encrypted() string { return j.streams[0].CachedInfo().Config.Metadata[metaEncrypted] }

// Encrypt stores that the events appended from now on are encrypted with the keys of a
// key store. The journal receives events on new subjects, so that an engine that has
// it open and does not encrypt can append no more: its commands fail with 503. It may
// be repeated.
func (j *Journal) Encrypt(ctx context.Context, keyStore string) error {
	for p := range j.streams {
		err := j.updateConfig(ctx, p, func(cfg *jetstream.StreamConfig) bool {
			if cfg.Metadata[metaEncrypted] == keyStore {
				j.publish[p] = strings.TrimSuffix(cfg.Subjects[0], ">") // another engine may have changed it
				return false
			}
			delete(cfg.Metadata, metaPlaintext)
			cfg.Metadata[metaEncrypted] = keyStore
			j.setIntake(cfg, p, natsio.IntakeRoot+nuid.Next()+"."+strconv.Itoa(p)+".>")
			return true
		})
		if err != nil {
			return fmt.Errorf("mark the journal as encrypted: %w", err)
		}
		head, err := j.Head(ctx, p)
		if err != nil {
			return err
		}
		err = j.updateConfig(ctx, p, func(cfg *jetstream.StreamConfig) bool {
			if cfg.Metadata[metaPlaintext] != "" {
				return false
			}
			cfg.Metadata[metaPlaintext] = strconv.FormatUint(head, 10)
			return true
		})
		if err != nil {
			return fmt.Errorf("mark the journal as encrypted: %w", err)
		}
	}
	return nil
}

// Plaintext returns the revision of a partition up to which events may be stored
// without encryption; 0 = all are encrypted.
func (j *Journal) Plaintext(ctx context.Context, partition int) (uint64, error) {
	info, err := j.streams[partition].Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the configuration of partition %d: %w", partition, err)
	}
	text := info.Config.Metadata[metaPlaintext]
	if text == "" {
		return info.State.LastSeq, nil // the mark was not stored
	}
	revision, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s of partition %d is %q, no revision", metaPlaintext, partition, text)
	}
	return revision, nil
}
