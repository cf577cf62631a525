// Package grants decides what a principal may do: the grammar of grants, the built-in
// roles, and the decision. It is pure: it knows no principal by name, no server and
// no request, only what is asked. What no grant allows is refused.
package grants
