package commands

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/reminder"
	"github.com/tidemark-engine/tidemark/events"
)

func reminderCommand(c reminder.Command, request request) (Command, error) {
	c.Request = request.print
	return bind("reminder", c.ID, "", events.Reminder(c.ID), request, reminderFold, c, reminder.Decide), domain.CheckID("reminder id", c.ID)
}

// The shortest and the longest period of a reminder, in milliseconds, and its most
// firings.
const (
	minEveryMS  = 1000
	maxEveryMS  = 100 * 366 * 24 * 3600 * 1000
	maxReminder = 1_000_000_000
)

// reminderBody is the body of reminder.set.
type reminderBody struct {
	At       *string `json:"at"`
	EveryMS  *int64  `json:"every_ms"`
	Cron     *string `json:"cron"`
	Timezone string  `json:"timezone"`
	Until    string  `json:"until"`
	Count    *int    `json:"count"`
	Missed   string  `json:"missed"`
	Command  *struct {
		Subject *string        `json:"subject"`
		Body    jsontext.Value `json:"body"`
	} `json:"command"`
	AgentID string `json:"agent_id"`
}

func readReminderSet(id string, body []byte, now time.Time, b Bounds) (Command, error) {
	var in reminderBody
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	switch {
	case in.Command == nil:
		return Command{}, domain.MissingField("command")
	case in.Command.Subject == nil:
		return Command{}, domain.MissingField("command.subject")
	}
	data, err := in.schedule()
	if err != nil {
		return Command{}, err
	}
	subject := *in.Command.Subject
	if strings.Count(subject, ".") > 2 { // it has more than <aggregate>.<id>.<verb>
		subject = strings.TrimPrefix(strings.TrimPrefix(subject, b.Prefix), "commands.")
	}
	if data.Command = (events.ReminderCommand{Subject: subject, Body: in.Command.Body}); len(data.Command.Body) == 0 {
		data.Command.Body = jsontext.Value("{}")
	}
	if err := b.checkSize("command.body", data.Command.Body); err != nil {
		return Command{}, err
	}
	if data.AgentID = in.AgentID; data.AgentID != "" {
		if err := domain.CheckAgentID(data.AgentID); err != nil {
			return Command{}, err
		}
	}
	data.Owner = ownerOfCommand(&data)
	cmd, err := reminderCommand(reminder.Command{ID: id, Type: events.ReminderSet, Schedule: data}, bodyRequest("set", body, requestOf(data.Command.Body, func(text string) string {
		return fingerprint("set", data.At.Format(time.RFC3339Nano), strconv.FormatInt(data.EveryMS, 10), data.Cron, data.Timezone,
			data.Until.Format(time.RFC3339Nano), strconv.Itoa(data.Count), data.Missed, data.Command.Subject, text, data.AgentID)
	})))
	cmd.sends = &sending{subject: data.Command.Subject, body: data.Command.Body, first: func(now time.Time) time.Time {
		first, _ := reminder.First(&data, now) // the schedule was read above
		return first
	}}
	return cmd, err
}

// schedule is the body without its command, checked.
func (in *reminderBody) schedule() (d events.ReminderSchedule, err error) {
	given := 0
	for _, is := range [...]bool{in.At != nil, in.EveryMS != nil, in.Cron != nil} {
		if is {
			given++
		}
	}
	if given != 1 {
		return d, domain.Errorf(domain.Invalid, "schedule.invalid", "exactly one of at, every_ms and cron is needed, %d are given", given)
	}
	if in.At != nil {
		if d.At, err = parseTime("at", *in.At); err != nil {
			return d, err
		}
	}
	if in.EveryMS != nil {
		if d.EveryMS = *in.EveryMS; d.EveryMS < minEveryMS || d.EveryMS > maxEveryMS {
			return d, domain.Errorf(domain.Invalid, "every_ms.invalid", "every_ms must be %d to %d, this is %d", minEveryMS, int64(maxEveryMS), d.EveryMS)
		}
	}
	if in.Cron != nil {
		d.Cron, d.Timezone = *in.Cron, "UTC"
		if _, err := reminder.ParseCron(d.Cron); err != nil {
			return d, domain.Errorf(domain.Invalid, "cron.invalid", "cron %.64q: %v", d.Cron, err)
		}
	}
	if in.Timezone != "" {
		if d.Timezone = in.Timezone; in.Cron == nil {
			return d, domain.Errorf(domain.Invalid, "timezone.invalid", "timezone belongs to cron: at has an offset of its own, and every_ms needs none")
		}
		if _, err := reminder.LoadZone(d.Timezone); err != nil {
			return d, domain.Errorf(domain.Invalid, "timezone.invalid", "timezone %.64q is not an IANA time zone, such as Europe/Berlin", d.Timezone)
		}
	}
	if in.Until != "" {
		if d.Until, err = parseTime("until", in.Until); err != nil {
			return d, err
		}
	}
	if in.Count != nil {
		if d.Count = *in.Count; d.Count < 1 || d.Count > maxReminder {
			return d, domain.Errorf(domain.Invalid, "count.invalid", "count must be 1 to %d, this is %d", maxReminder, d.Count)
		}
	}
	switch d.Missed = in.Missed; d.Missed {
	case "":
		d.Missed = reminder.One
	case reminder.One, reminder.All, reminder.Skip:
	default:
		return d, domain.Errorf(domain.Invalid, "missed.invalid", "missed %.32q is not one of one, all, skip", d.Missed)
	}
	return d, nil
}

// ownerOfCommand is the agent that the content of a reminder's command goes to, else the
// agent that the reminder is for. With --encryption on, the content is encrypted with its
// key.
func ownerOfCommand(d *events.ReminderSchedule) string {
	var in struct {
		AgentID string `json:"agent_id"`
		Owner   string `json:"owner"`
	}
	aggregate, rest, _ := strings.Cut(d.Command.Subject, ".")
	id, verb, _ := strings.Cut(rest, ".")
	switch aggregate {
	case "agent", "config", "message":
		return id
	case "task", "session":
		_ = json.Unmarshal(d.Command.Body, &in) // a damaged body is refused with the command
		if verb == "create" && in.AgentID != "" {
			return in.AgentID
		}
		if verb == "open" && in.Owner != "" {
			return in.Owner
		}
	}
	return d.AgentID
}

func readReminderCancel(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	if err := domain.DecodeBody(body, &struct{}{}); err != nil {
		return Command{}, err
	}
	return reminderCommand(reminder.Command{ID: id, Type: events.ReminderCancelled}, request{print: fingerprint("cancel")})
}

// ReminderDue is the body of the engine's command reminder.<id>.due.
type ReminderDue struct {
	SetAt     time.Time `json:"set_at"`
	NextAt    time.Time `json:"next_at"`
	CommandID string    `json:"command_id"`
	Since     time.Time `json:"since"`
}

func readReminderDue(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	var in ReminderDue
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	print := fingerprint("due", in.SetAt.Format(time.RFC3339Nano), in.NextAt.Format(time.RFC3339Nano), in.CommandID)
	return reminderCommand(reminder.Command{ID: id, Type: events.ReminderDue, Due: reminder.Due(in)}, request{print: print})
}

// readReminderFired reads the engine's command reminder.<id>.fired.
func readReminderFired(id string, body []byte, _ time.Time, _ Bounds) (Command, error) {
	var in events.ReminderAnswer
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	return reminderCommand(reminder.Command{ID: id, Type: events.ReminderFired, Answer: in}, request{print: fingerprint("fired", in.CommandID)})
}

// sending is a command that a command makes the engine send later.
type sending struct {
	subject string
	body    []byte
	first   func(now time.Time) time.Time // when it is sent first; zero = never
	command *Command                      // as it is read for that time
}

// untimely is why the command that another one sends is refused at the first time that it is
// sent, whatever the state then: a deadline or a schedule is over, or a timestamp is ahead.
func (s *sending) untimely(now time.Time) *domain.Error {
	due, sent := s.first(now), s.command
	if due.IsZero() || sent == nil {
		return nil
	}
	var refusal *domain.Error
	if sent.decide != nil && sent.lookup == nil {
		refusal = sent.decide(nil, domain.Metadata{Now: due, CommandID: sent.CommandID}).Refusal
	}
	if refusal != nil && refusal.Kind == domain.Invalid {
		e := *refusal
		e.Message = "command: when it is sent, at " + due.Format(time.RFC3339Nano) + ": " + e.Message
		return &e
	}
	if sent.sends != nil {
		return sent.sends.untimely(due)
	}
	return nil
}

// checkSent refuses a command whose sender may not send, or that no one can send, the
// command that it makes the engine send later.
func (h *Handler) checkSent(ctx context.Context, cmd *Command) error {
	now := h.cfg.Now()
	err := h.readSent(ctx, cmd, now)
	if err != nil || cmd.sends == nil || cmd.sends.untimely(now) == nil {
		return err
	}
	// Only a command that did not take effect before is refused.
	sends, decide := cmd.sends, cmd.decide
	cmd.decide = func(state any, meta domain.Metadata) domain.Decision {
		if refused := sends.untimely(meta.Now); refused != nil {
			return domain.Refuse(refused)
		}
		return decide(state, meta)
	}
	return nil
}

// readSent reads the command that cmd sends, and those that this one sends.
func (h *Handler) readSent(ctx context.Context, cmd *Command, now time.Time) error {
	s := cmd.sends
	if s == nil {
		return nil
	}
	if due := s.first(now); due.After(now) {
		now = due
	}
	aggregate, id, verb, err := ParseSubject(s.subject)
	var sent Command
	if err == nil {
		sent, err = h.readAt(ctx, Request{Aggregate: aggregate, ID: id, Verb: verb, Body: s.body}, now)
	}
	if err == nil {
		err = h.readSent(ctx, &sent, now)
	}
	var known *domain.Error
	if errors.As(err, &known) && known.Kind != domain.Forbidden {
		e := *known
		e.Message = "command: " + e.Message
		return &e
	}
	if err != nil {
		return err
	}
	switch s.command = &sent; {
	case sent.sends != nil:
		cmd.prepare = sent.prepare
	case sent.guard != nil: // whether the sender may do it depends on the state of another aggregate
		cmd.prepare = func(ctx context.Context, h *Handler) error {
			last, err := h.load(ctx, sent.Name, sent.fold)
			if err != nil {
				return unavailable(err, false)
			}
			if refused := sent.guard(last.state); refused != nil {
				return cmp.Or(h.confirm(ctx, sent.Name, last), refused)
			}
			return nil
		}
	}
	return nil
}
