// Package console serves the web console: pages for people, in front of the wire contract.
//
// It is a client of the contract, by package client: each page is made of queries and each
// action is a command, sent on a NATS connection that belongs to the session. So grants are
// enforced by the engine itself, and the actor of an event is the signed-in principal.
// The console adds no rule. What is not on the wire, such as rates and the lag of the last
// hour, comes from [Engine].
//
// # How to add a page
//
// Write a function func (c *Console) things(r *request) (view, error) that asks with r.ask
// and returns a view: a title, the entry of the navigation, and a component as body. The
// component is in things.templ; `make generate` makes
// things_templ.go, which is committed (a test fails when it is stale). Then add the page's
// pattern to routes in console.go. Overview (overview.go, overview.templ) is the model.
//
//   - Everything that a page depends on is in its URL: r.query("prefix"), r.number("limit").
//   - An error that is returned is shown as the wire gave it. An error of one part of a page
//     is shown in its place by @failure(err).
//   - With view.live the page follows the engine: its stream calls the function again after
//     changes and sends the body if it differs, which the script then morphs into the page.
//     Give rows an id, so that they keep focus.
//   - Lists ask with limit and cursor, and end with @pager(r, cursor).
//   - Values of agents are shown with @value(raw) or as plain text of templ, which escapes
//     them. Never templ.Raw.
//   - There is no inline script or style: the Content-Security-Policy forbids both.
//
// # How to add an action
//
// Add an entry to actions in actions.go: its name, and a function that makes of the form what
// is sent, said and printed as a command line. A page asks for it with a form,
// @actionForm(r, "agent.set") { fields }, or typedForm if a reader types in it. The rest is common: the first POST shows
// what will happen, with a command id that is made then; the second one does it and shows the
// receipt, or the error as the wire gave it.
package console
