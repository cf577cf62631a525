// Package service serves commands and queries as the NATS micro service of the wire
// contract: it parses subjects, limits requests and encodes replies and errors. It
// does not execute them; the caller supplies the handlers.
package service
