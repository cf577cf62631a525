package deployment

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// CheckNATSURLs accepts a list of NATS servers, separated by commas; empty is
// none. Its errors do not repeat a URL, which may have a password.
func CheckNATSURLs(flag, list string) error {
	if list == "" {
		return nil
	}
	for i, one := range strings.Split(list, ",") {
		if one = strings.TrimSpace(one); !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) || !isPort(u.Port()) {
			return fmt.Errorf("%s: URL %d of the list is not nats://HOST:PORT (or tls, ws, wss)", flag, i+1)
		}
	}
	return nil
}

// WithoutUsers removes users and passwords from a list of URLs.
func WithoutUsers(list string) string {
	all := strings.Split(list, ",")
	for i, one := range all {
		scheme, rest, found := strings.Cut(strings.TrimSpace(one), "://")
		if !found {
			scheme, rest = "nats", scheme
		}
		all[i] = scheme + "://" + rest[strings.LastIndex(rest, "@")+1:]
	}
	return strings.Join(all, ",")
}

// CheckAddress accepts HOST:PORT for a listener.
func CheckAddress(flag, address string) error {
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" || !isPort(port) {
		return fmt.Errorf("%s: %q is not HOST:PORT", flag, address)
	}
	return nil
}

// isPort reports whether text is empty or a port, 0 included.
func isPort(text string) bool {
	_, err := strconv.ParseUint(text, 10, 16)
	return err == nil || text == ""
}
