// Package config holds the configuration that ships inside the program.
package config

import _ "embed"

// Topology is the default topology as YAML: the streams, buckets and consumers
// that the engine creates when the operator names no topology document.
//
//go:embed topology.yaml
var Topology []byte
