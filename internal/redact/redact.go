// Package redact hides the secrets in what names a server.
package redact

import (
	"regexp"
	"strings"
)

// Hidden stands for a secret.
const Hidden = "xxxxx"

var (
	// host is a URL without userinfo and a port that is a number: no part of it can
	// be a password with a character that URLs must escape.
	host     = regexp.MustCompile(`^([a-z]+://)?(\[[0-9a-fA-F:.%]+\]|[^\s:@/?#]*)(:[0-9]+)?([,/?#].*)?$`)
	setting  = regexp.MustCompile(`(?i)\b(\w*pass(?:word|wd)?|token|\w*secret)(\s*=\s*)('(?:[^'\\]|\\.)*'?|[^\s&#"]*)`)
	postgres = regexp.MustCompile(`(?i)^postgres(ql)?://`)
)

// URL hides the passwords and tokens of a URL, of a comma-separated list of URLs or
// of a PostgreSQL connection string. A user without a password is a token, except
// in a URL of PostgreSQL.
func URL(raw string) string {
	switch {
	case strings.Contains(raw, "://") && !postgres.MatchString(raw), !strings.Contains(raw, "="):
		all := strings.Split(raw, ",")
		for i, one := range all {
			all[i] = url(strings.TrimSpace(one))
		}
		return strings.Join(all, ",")
	case postgres.MatchString(raw):
		return url(raw)
	}
	return setting.ReplaceAllString(raw, "$1${2}"+Hidden)
}

func url(raw string) string {
	scheme, rest, found := strings.Cut(raw, "://")
	if scheme += "://"; !found {
		scheme, rest = "", raw
	}
	user := ""
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		name, _, password := strings.Cut(rest[:i], ":")
		if rest = rest[i+1:]; password {
			user = name + ":" + Hidden + "@"
		} else if user = Hidden + "@"; postgres.MatchString(raw) {
			user = name + "@"
		}
	}
	if !host.MatchString(rest) && !postgres.MatchString(raw) || strings.Contains(rest, "@") {
		return "(a connection string)"
	}
	return scheme + user + setting.ReplaceAllString(rest, "$1${2}"+Hidden)
}

var userinfo = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)([^\s"'<>]*)@`)

// Text hides the passwords and tokens of the URLs and connection strings in a text,
// such as an error or an argument.
func Text(text string) string {
	if strings.Contains(text, "://") {
		text = userinfo.ReplaceAllStringFunc(text, func(match string) string {
			scheme, user, _ := strings.Cut(strings.TrimSuffix(match, "@"), "://")
			name, _, password := strings.Cut(user, ":")
			switch {
			case strings.ContainsAny(name, "@,/"): // several URLs, or a part of a password
				name = Hidden
			case password:
				name += ":" + Hidden
			case !postgres.MatchString(scheme + "://"):
				name = Hidden
			}
			return scheme + "://" + name + "@"
		})
	}
	if strings.Contains(text, "=") {
		text = setting.ReplaceAllString(text, "$1${2}"+Hidden)
	}
	return text
}
