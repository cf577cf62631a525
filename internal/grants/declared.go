package grants

// Watches reports whether the principal may read the bucket of a view of these rows.
func (s *Set) Watches(r Rows) bool {
	if s == nil || s.all {
		return s != nil
	}
	a := r.Action()
	if a.Aggregate == "message" {
		a.ID = "*"
	}
	return s.watches(a.Aggregate, a.ID, a.Key)
}
