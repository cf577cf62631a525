package commands

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tidemark-engine/tidemark/domain"
	"github.com/tidemark-engine/tidemark/domain/agent"
)

func readMerge(id string, body []byte, _ time.Time, b Bounds) (Command, error) {
	var in struct {
		entryBody
		Value jsontext.Value `json:"value"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	return in.compute(id, b, operand{"value", in.Value, '{'}, agent.Merge{})
}

func readAdd(id string, body []byte, _ time.Time, b Bounds) (Command, error) {
	var in struct {
		entryBody
		Delta jsontext.Value `json:"delta"`
		Min   jsontext.Value `json:"min"`
		Max   jsontext.Value `json:"max"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	var add agent.Add
	for _, bound := range []struct {
		operand
		to *string
	}{{operand{"min", in.Min, '0'}, &add.Min}, {operand{"max", in.Max, '0'}, &add.Max}} {
		if bound.missing() {
			continue
		}
		if err := bound.check(); err != nil {
			return Command{}, err
		}
		*bound.to = string(bound.value)
	}
	if err := add.Check(); err != nil {
		return Command{}, err
	}
	return in.compute(id, b, operand{"delta", in.Delta, '0'}, add, add.Min, add.Max)
}

func readAppend(id string, body []byte, _ time.Time, b Bounds) (Command, error) {
	var in struct {
		entryBody
		Items    jsontext.Value `json:"items"`
		MaxItems *uint64        `json:"max_items"`
	}
	if err := domain.DecodeBody(body, &in); err != nil {
		return Command{}, err
	}
	keep := agent.Append{}
	if in.MaxItems != nil {
		if keep.MaxItems = *in.MaxItems; keep.MaxItems == 0 {
			return Command{}, domain.Errorf(domain.Invalid, "max_items.invalid", "max_items is 0, it must be 1 or more")
		}
	}
	return in.compute(id, b, operand{"items", in.Items, '['}, keep, strconv.FormatUint(keep.MaxItems, 10))
}

// operand is a member of a body with the kind of JSON that it must have.
type operand struct {
	name  string
	value jsontext.Value
	kind  jsontext.Kind
}

func (o operand) missing() bool { return len(o.value) == 0 || o.value.Kind() == 'n' }

func (o operand) check() error {
	if is := o.value.Kind(); is != o.kind {
		want := map[jsontext.Kind]string{'{': "an object", '[': "an array", '0': "a number"}[o.kind]
		return domain.NotA(want, "/"+o.name, is)
	}
	return nil
}

// compute is the command to compute an entry's value with an operand. options are
// other members that the request consists of.
func (in entryBody) compute(id string, b Bounds, with operand, c agent.Computation, options ...string) (Command, error) {
	w, err := in.write(id)
	switch {
	case err != nil:
	case with.missing():
		err = domain.MissingField(with.name)
	default:
		err = with.check()
	}
	if err == nil {
		err = b.checkSize("the value", with.value)
	}
	if err != nil {
		return Command{}, err
	}
	w.Value, w.Computation, w.MaxValue = with.value, c, b.ValueBytes
	request := requestOf(with.value, func(value string) string {
		return fingerprint(append([]string{c.Verb(), w.Key, value, in.expected(), in.Writer}, options...)...)
	})
	w.Request = request.print
	return bindEntry(w, request, b.ClockSkew), nil
}
