// Package retention trims the journal of events that the archive holds.
package retention
