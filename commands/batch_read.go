package commands

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
)

// batch is the body of commands.batch, {"atomic","commands","require"}.
type batch struct {
	atomic  bool
	items   []batchItem
	require []requirement
}

// readBatch reads a batch. Each command is read by itself: what is wrong with one is that
// item's error.
func readBatch(body []byte, below func(string) string) (in batch, err error) {
	if text := bytes.TrimSpace(body); len(body) == 0 || string(text) == "null" { // as for every command
		return batch{}, domain.MissingField("commands")
	}
	var list jsontext.Value
	err = eachMember(body, func(name string, value jsontext.Value) error {
		switch name {
		case "atomic":
			return member(name, value, &in.atomic)
		case "commands":
			if value.Kind() == 'n' {
				return nil
			}
			list = value
			return arrayMember(name, value)
		case "require":
			in.require, err = readRequire(value, below)
			return err
		}
		return unknownMember(name, "atomic, commands, require")
	})
	if err == nil && list == nil {
		err = domain.MissingField("commands")
	}
	if err != nil {
		return batch{}, err
	}
	d := lenientDecoder(list)
	for _, _ = d.ReadToken(); d.PeekKind() != ']'; { // '[': eachMember has parsed the list
		value, err := d.ReadValue()
		if err != nil {
			return batch{}, domain.CheckJSON(list)
		}
		var item batchItem
		if len(in.items) < MaxBatch {
			item.req, item.err = readBatchItem(slice(d, list, value), below)
		}
		in.items = append(in.items, item)
	}
	if n := len(in.items); n == 0 || n > MaxBatch {
		return batch{}, domain.Errorf(domain.Invalid, "batch.size", "a batch holds 1 to %d commands, this has %d", MaxBatch, n)
	}
	if len(in.require) > 0 && !in.atomic && len(in.items) > 1 {
		return batch{}, domain.Errorf(domain.Invalid, "require.not_atomic", `"/require" needs "atomic":true, or one command`)
	}
	return in, nil
}

// readBatchItem reads {"subject","id","body"}. The body is checked like the body of
// a single command, when the command is read.
func readBatchItem(text []byte, below func(string) string) (req Request, err error) {
	var subject *string
	err = eachMember(text, func(name string, value jsontext.Value) error {
		switch name {
		case "subject":
			return member(name, value, &subject)
		case "id":
			return member(name, value, &req.CommandID)
		case "body":
			req.Body = value
			return nil
		}
		return unknownMember(name, "subject, id, body")
	})
	if err == nil && subject == nil {
		err = domain.MissingField("subject")
	}
	if err == nil {
		req.Aggregate, req.ID, req.Verb, err = ParseSubject(below(*subject))
	}
	return req, err
}

// eachMember calls take for each member of a JSON object. It does not check what
// is inside the values beyond their syntax.
func eachMember(object []byte, take func(name string, value jsontext.Value) error) error {
	d := lenientDecoder(object)
	if kind := d.PeekKind(); kind > 0 && kind != '{' {
		if err := domain.CheckJSON(object); err != nil {
			return err
		}
		return domain.Errorf(domain.Invalid, "body.invalid", "there must be a JSON object, not %s", domain.KindName(kind))
	}
	_, err := d.ReadToken()
	seen := map[string]bool{}
	for err == nil && d.PeekKind() == '"' {
		name, _ := d.ReadToken() // a string, as peeked; a damaged one fails below
		text := name.String()
		value, verr := d.ReadValue()
		if err = verr; err != nil {
			break
		}
		if seen[text] {
			return domain.Errorf(domain.Invalid, "json.invalid", "duplicate object member name, at %.64q", "/"+text)
		}
		seen[text] = true
		if err := take(text, slice(d, object, value)); err != nil {
			return err
		}
	}
	if err == nil {
		_, err = d.ReadToken() // '}'
	}
	if err == nil {
		if _, err = d.ReadToken(); errors.Is(err, io.EOF) {
			return nil
		}
	}
	return domain.CheckJSON(object) // says what is wrong, and where
}

// lenientDecoder takes what is JSON but cannot be stored; see eachMember.
func lenientDecoder(text []byte) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// slice is the value that d has just read, as a part of its text, which outlives
// the decoder's own buffer.
func slice(d *jsontext.Decoder, text []byte, value jsontext.Value) jsontext.Value {
	end := d.InputOffset()
	return text[end-int64(len(value)) : end : end]
}

// member decodes a member of a batch or of one of its commands.
func member(name string, value jsontext.Value, into any) error {
	if err := domain.CheckJSON(value); err != nil {
		return err
	}
	return domain.WrongType("/"+name, json.Unmarshal(value, into))
}

func unknownMember(name, known string) error {
	place := "/" + name
	return domain.Errorf(domain.Invalid, "body.unknown_field", "unknown field at %.64q: there are %s", place, known).With("place", place)
}

// arrayMember refuses a member that is no array.
func arrayMember(name string, value jsontext.Value) error {
	if value.Kind() == '[' {
		return nil
	}
	return domain.NotA("an array", "/"+name, value.Kind())
}
