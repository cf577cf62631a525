package gate

// Everything is the access to all streams.
type Everything struct{}

// All implements Access.
func (Everything) All(string) bool { return true }

// Some implements Access.
func (Everything) Some(string) bool { return true }

// Covers implements Access.
func (Everything) Covers(string, string) bool { return true }

// Nothing is the access of a caller without grants.
type Nothing struct{}

// All implements Access.
func (Nothing) All(string) bool { return false }

// Some implements Access.
func (Nothing) Some(string) bool { return false }

// Covers implements Access.
func (Nothing) Covers(string, string) bool { return false }
