package pg

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"
)

// beside are the ends of the names of the schemas that the engine makes beside its own:
// of a rebuild, of its plan, and of a repair.
var beside = []string{"_next", "_plan", "_repair"}

// MaxName is where PostgreSQL cuts names, in bytes.
const MaxName = 63

// maxSchemaName leaves room for the names made of it.
const maxSchemaName = 32

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// CheckSchemaName refuses names that cannot be the schema of an engine.
func CheckSchemaName(name string) error {
	taken := slices.IndexFunc(beside, func(end string) bool { return strings.HasSuffix(name, end) })
	switch {
	case !schemaName.MatchString(name) || len(name) > maxSchemaName:
		return fmt.Errorf("%q is no name for a schema: use at most %d of the characters a to z, 0 to 9 and _, without a digit at the start", name, maxSchemaName)
	case strings.HasPrefix(name, "pg_") || name == "information_schema" || slices.Contains(reservedWords, name):
		return fmt.Errorf("%q cannot be the name of a schema: PostgreSQL reserves it", name)
	case name == "public":
		return fmt.Errorf("%q cannot be the engine's schema: tables of others are there; name a schema of its own", name)
	case taken >= 0 || strings.Contains(name, "_of_"):
		return fmt.Errorf("%q cannot be the engine's schema: an engine makes schemas with such names beside its own (NAME%s, NAME_of_…)", name, strings.Join(beside, ", NAME"))
	}
	return nil
}

// reservedWords are the keywords of PostgreSQL that are no names without quotes.
var reservedWords = strings.Fields(`all analyse analyze and any array as asc asymmetric authorization binary both case cast check
	collate collation column concurrently constraint create cross current_catalog current_date current_role current_schema
	current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign
	freeze from full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit
	localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references
	returning right select session_user similar some symmetric system_user table tablesample then to trailing true union
	unique user using variadic verbose when where window with`)

// Schema is the name of the engine's schema in this database.
func (d *DB) Schema() string { return d.schema }

// Table is the name of a table of the engine's schema, for arguments and messages.
func (d *DB) Table(name string) string { return d.schema + "." + name }

// LockKey is the key of an advisory lock of this schema's engines.
func (d *DB) LockKey(key int64) int64 {
	if d.schema == string(Live) {
		return key
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(d.schema))
	return key ^ int64(h.Sum64())
}

// In rewrites a statement written for the schema agents, and those beside it, to use
// the schema of this database. The pool, its connections and their transactions do so
// with every statement.
func (d *DB) In(statement string) string { return rename(statement, d.schema) }

// rename replaces the schema's name where it is one: before a dot, after the word
// SCHEMA, and in a literal that is cast to a name of an object or that a name is put
// together from. Other literals and comments stay, because they are not the engine's.
func rename(sql, to string) string {
	if to == string(Live) || !strings.Contains(sql, string(Live)) {
		return sql
	}
	var b strings.Builder
	before := "" // the last word
	for len(sql) > 0 {
		token, rest := cutToken(sql)
		sql = rest
		inner := strings.Trim(token, `"`)
		end, live := strings.CutPrefix(inner, string(Live))
		switch {
		case token[0] == '\'':
			if live = strings.HasPrefix(token[1:], string(Live)); live && (strings.HasPrefix(rest, "::reg") || strings.HasPrefix(rest, " ||")) {
				end := token[1+len(Live):]
				if word, _ := cutToken(end); slices.Contains(beside, word) || end[0] == '.' || end[0] == '\'' {
					token = "'" + to + end
				}
			}
		case live && (end == "" || slices.Contains(beside, end)) && (strings.HasPrefix(rest, ".") || strings.EqualFold(before, "SCHEMA") || strings.EqualFold(before, "EXISTS")):
			token = strings.Replace(token, inner, to+end, 1)
		}
		if isWord(token[0]) {
			before = token
		} else if token[0] != ' ' {
			before = ""
		}
		b.WriteString(token)
	}
	return b.String()
}

// cutToken cuts off a literal, a quoted name, a comment, a word, or one other byte.
func cutToken(sql string) (token, rest string) {
	n := 1
	switch c := sql[0]; {
	case c == '\'' || c == '"':
		n = len(sql)
		if i := strings.IndexByte(sql[1:], c); i >= 0 {
			n = i + 2
		}
	case strings.HasPrefix(sql, "--"):
		n = len(sql)
		if i := strings.IndexByte(sql, '\n'); i >= 0 {
			n = i
		}
	case isWord(c):
		for n < len(sql) && isWord(sql[n]) {
			n++
		}
	}
	return sql[:n], sql[n:]
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
