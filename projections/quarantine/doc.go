// Package quarantine describes events that a view cannot apply and therefore sets aside,
// one aggregate at a time, and the port of the store that remembers them.
package quarantine
