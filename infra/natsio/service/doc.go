// Package service serves commands and queries as the NATS micro service of the wire
// contract: it parses subjects, bounds requests and encodes replies and errors.
package service
