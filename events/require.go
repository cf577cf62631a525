package events

// Types of the events that guard an atomic batch. One message of an append can compare one
// aggregate, so each aggregate that a batch requires and does not write is compared by an
// event of its own (docs/adr/0014).
const (
	RequireDeclared = "require.declared" // a batch rests on the requirements of the next events
	RequireChecked  = "require.checked"  // an aggregate was at this revision when the batch was appended
)

// Require is the name under which the guards of batches are stored whose first command has
// this id.
func Require(id string) AggregateName { return AggregateName("require." + id) }

// RequireBatch is the data of RequireDeclared.
type RequireBatch struct {
	Checks int `json:"checks"` // the number of events that follow in the same append
}

// RequireCheck is the data of RequireChecked.
type RequireCheck struct {
	Name     AggregateName `json:"name"`
	Version  uint64        `json:"version"` // 0 = it did not exist
	Revision uint64        `json:"revision"`
}
