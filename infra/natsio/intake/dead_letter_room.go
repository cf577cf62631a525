package intake

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemark-engine/tidemark/infra/natsio"
)

// The dead letters of one source have one subject, those of the commands of a principal one for
// each. Those of the commands of clients may fill the stream up to a bound; then the oldest of
// the same subject make room, and those of no other.

const (
	// letterBytes is the default bound.
	letterBytes = 256 << 20
	// letterOverhead is what a dead letter takes beside its body: its headers and the server's.
	letterOverhead = 1 << 10
	// headerTotal is the sum of the sizes of the dead letters of a subject, this one included,
	// since the first. Those of earlier builds have none.
	headerTotal = "Tidemark-Total"
)

// letterSubject is where a dead letter of a source goes; account is that of the principal that
// sent it, empty for other clients.
func (s *streams) letterSubject(source, account string) string {
	if account == "" || account == s.dev {
		return s.deadLetterRoot + source
	}
	return s.deadLetterRoot + source + "." + account
}

// storeLetter stores a dead letter of a source. For one of a client's command it removes the
// oldest of its subject before, if they fill their room. Engines that store at the same time
// may exceed it by what each stores.
func (in *Intake) storeLetter(ctx context.Context, source string, msg *nats.Msg, id string) error {
	if source == sourceCommands {
		in.letters.Lock()
		defer in.letters.Unlock()
		size := uint64(len(msg.Data)) + letterOverhead
		total, err := in.letterTotal(ctx, msg.Subject, size)
		if err != nil { // it is stored all the same: the stream answers again when this succeeds
			in.log.Warn("the room of dead letters is not known", "subject", msg.Subject, "error", err)
		}
		msg.Header.Set(headerTotal, strconv.FormatUint(total+size, 10))
	}
	return in.publish(ctx, msg, DeadLettersStream, jetstream.WithMsgID(id))
}

// letterTotal returns the sum at the last dead letter of a subject, after it has made room for
// one of size.
func (in *Intake) letterTotal(ctx context.Context, subject string, size uint64) (total uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	last, err := natsio.LastMessage(ctx, in.js.Conn(), in.streams.deadLetters, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		delete(in.letterFloor, subject)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	room := uint64(in.cfg.DeadLetterBytes)
	total = totalOf(last)
	if total < in.letterFloor[subject] { // all before it were removed, so the sums began again
		delete(in.letterFloor, subject)
	}
	if total+size <= in.letterFloor[subject]+room {
		return total, nil
	}
	q := natsio.PageQuery{Subject: subject, FromSeq: 1, Batch: 100}
	var cut uint64 // the last one to remove
	for more := true; more; {
		var msgs []*jetstream.RawStreamMsg
		if msgs, more, err = q.Page(ctx, in.js.Conn(), DeadLettersStream); err != nil {
			return total, err
		}
		for _, m := range msgs {
			q.FromSeq = m.Sequence + 1
			own := uint64(len(m.Data)) + letterOverhead
			floor := max(totalOf(m), own) - own
			in.letterFloor[subject] = floor
			if free := room / 16; cut == 0 && total+size <= floor+room || cut > 0 && total+size <= floor+room-free {
				more = false // it stays, and with it those behind it
				break
			}
			cut = m.Sequence
		}
	}
	if cut == 0 {
		return total, nil
	}
	in.log.Warn("dead letters fill their room; the oldest of this subject are removed", "subject", subject, "up_to", cut)
	if err := in.streams.deadLetters.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(cut+1)); err != nil {
		return total, fmt.Errorf("remove the oldest dead letters: %w", err)
	}
	return total, nil
}

func totalOf(m *jetstream.RawStreamMsg) uint64 {
	total, _ := strconv.ParseUint(m.Header.Get(headerTotal), 10, 64) // 0 = of an earlier build
	return total
}
