package projections

// Versions of the views' folds. Raise a view's version when its fold makes different rows of the
// same events: at the next start the view is rebuilt beside its old rows.
const (
	durableVersion = 1
	hotVersion     = 1
)

// Version returns the version of a view's fold in this build.
func Version(view string) int {
	switch view {
	case "durable":
		return durableVersion
	case "hot":
		return hotVersion
	}
	return 1
}
