package grants

import "strings"

// Reads is the smallest watch grant for what a subject or pattern of NATS, without the subject
// prefix, matches in a stream; empty = no grant opens the stream.
func Reads(stream, subject string) string {
	g := Grant{Kind: Watch, Aggregate: aggregateOf[stream], ID: "*"}
	switch {
	case stream == "KV_QUERY_CACHE": // it has answers about everything
		return "watch *:*"
	case g.Aggregate == "":
		return ""
	}
	t := strings.Split(subject, ".")
	if len(t) < 3 || t[2] == ">" || t[0] == "messages" && t[1] != "direct" { // broadcasts are for every agent
		return g.String()
	}
	whole := g.String()
	g.ID = t[2]
	if keys := g.Aggregate == "agent" || g.Aggregate == "config"; keys && (t[0] == "$KV" || t[1] == "state") {
		if g.Key = strings.Join(t[3:], "."); g.Key == ">" {
			g.Key = ""
		}
		if pattern, ok := strings.CutSuffix(g.Key, ".>"); ok {
			g.Key = pattern + ".*"
		}
	}
	if _, err := Parse(g.String()); err != nil { // there is no such subject
		return whole
	}
	return g.String()
}
