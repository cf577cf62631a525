package main

import (
	"strings"
	"unsafe"

	"github.com/tidemark-engine/tidemark/internal/redact"
)

// hideArguments returns a copy of the arguments, and hides the secrets in the original
// ones: every user of the machine reads them in /proc/PID/cmdline. The runtime's strings
// lie in that memory (runtime.goargs).
func hideArguments(args []string) []string {
	copies := make([]string, len(args))
	for i, arg := range args {
		copies[i] = strings.Clone(arg)
		flag, value, joined := strings.Cut(arg, "=")
		if !joined && i > 0 {
			flag, value = args[i-1], arg
		}
		shown := redact.Text(arg)
		if flag == "--nats" || flag == "--server" || flag == "--postgres" { // with or without a scheme
			shown = strings.TrimSuffix(arg, value) + redact.URL(value)
		}
		if shown == arg {
			continue
		}
		memory := unsafe.Slice(unsafe.StringData(arg), len(arg))
		for j := range memory {
			if memory[j] = ' '; j < len(shown) {
				memory[j] = shown[j]
			}
		}
	}
	return copies
}
