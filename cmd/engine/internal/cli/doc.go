// Package cli is the program's subcommands: flags, arguments, and what is
// printed. A subcommand opens what it needs through deployment and leaves the
// work to the package that owns it.
package cli
