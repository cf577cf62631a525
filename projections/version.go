package projections

// Versions of the views' folds. Whoever changes what a fold makes of the same
// events raises its view's: at the next start the view is rebuilt beside its
// old rows.
const (
	durableVersion = 1
	hotVersion     = 1
)

// Version is that of a view's fold as this build has it.
func Version(view string) int {
	switch view {
	case "durable":
		return durableVersion
	case "hot":
		return hotVersion
	}
	return 1
}
