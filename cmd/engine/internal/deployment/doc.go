// Package deployment knows an engine from outside: the files in its data
// directory, the status that it reports, the servers that it runs on, and its
// stores as another process opens them. It runs no engine.
package deployment
