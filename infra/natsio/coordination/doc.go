// Package coordination lets several engines share work: locks, leases, durable timers
// and the progress that views broadcast to each other.
package coordination
