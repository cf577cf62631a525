package events

import "github.com/go-json-experiment/json/jsontext"

// Types of the events of a declared view.
const (
	ViewDefined = "view.defined"
	ViewRemoved = "view.removed"
)

// View is the name of a declared view.
func View(id string) AggregateName { return AggregateName("view." + id) }

// ViewDefinition is the data of ViewDefined.
type ViewDefinition struct {
	Definition jsontext.Value `json:"definition"`       // an object, in its canonical form
	SetBy      string         `json:"set_by,omitempty"` // the principal that has defined the view
	Request    string         `json:"request"`
}
