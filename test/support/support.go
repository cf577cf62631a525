// Package support starts the servers that tests use in their own process: an
// embedded NATS server for each test, and one PostgreSQL cluster for all tests
// of the process. Each ends with the test or the process that started it.
package support
