// Package top shows what an engine does, live on a terminal or once: the rates and
// latencies between two looks at its metrics, and the status that it answers. It asks as
// any client does and changes nothing.
package top
