// Package coordination lets several engines share work: leases, locks, durable timers
// and broadcasts of the progress of views.
package coordination
