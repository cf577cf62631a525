// Package config holds the configuration that ships inside the program.
package config

import _ "embed" // for the topology

// Topology is the default topology: the seed's section 6.1 to 6.3 as it stands.
//
//go:embed topology.yaml
var Topology []byte
