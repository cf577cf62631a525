package declared

import (
	"fmt"
	"strings"

	"github.com/tidemark-engine/tidemark/domain/view"
	"github.com/tidemark-engine/tidemark/infra/pg"
)

// layout is what of a generation's tables its statements need.
type layout struct {
	g       *Generation
	columns []tableColumn // of the rows beside the key and, in groups, beside the count
	sums    []string      // source columns of a group's sums
}

// tableColumn is a column of the table of rows.
type tableColumn struct{ name, typ, from string }

// countColumn is the column with the number of a group's entries.
func (l *layout) countColumn() string {
	if l.g.Definition.Group.Count {
		return column(view.CountColumn)
	}
	return column("$" + view.CountColumn)
}

func newLayout(g *Generation) *layout {
	l := &layout{g: g}
	d := &g.Definition
	if d.Group == nil {
		for _, c := range d.Columns {
			l.columns = append(l.columns, tableColumn{c.Name, c.Type, c.Name})
		}
		return l
	}
	for _, name := range d.Group.By {
		c, _ := d.Column(name)
		l.columns = append(l.columns, tableColumn{c.Name, c.Type, c.Name})
	}
	l.sums = d.Group.Sum
	return l
}

// ddl makes the tables.
func (l *layout) ddl() string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE %s (key text COLLATE \"C\" PRIMARY KEY", l.g.table())
	for _, c := range l.columns {
		fmt.Fprintf(&b, ", %s %s", column(c.name), c.typ)
	}
	if l.g.Definition.Group == nil {
		b.WriteString(")")
		b.WriteString(l.watched(l.g.table()))
		b.WriteString(l.withoutStatistics())
		return b.String()
	}
	fmt.Fprintf(&b, ", %s bigint NOT NULL", l.countColumn())
	for _, name := range l.sums {
		fmt.Fprintf(&b, ", %s numeric NOT NULL", column(view.SumPrefix+name))
	}
	fmt.Fprintf(&b, ");\nCREATE TABLE %s (key text COLLATE \"C\" PRIMARY KEY, \"$group\" text COLLATE \"C\" NOT NULL", l.g.entries())
	for _, name := range l.sums {
		fmt.Fprintf(&b, ", %s numeric", column(name))
	}
	b.WriteString(")")
	b.WriteString(l.watched(l.g.table()) + l.watched(l.g.entries()))
	b.WriteString(l.withoutStatistics())
	return b.String()
}

// truncated is the trigger of each table.
const truncated = "declared_truncated"

// watched makes a TRUNCATE of a table take the positions of the generation.
func (l *layout) watched(table string) string {
	return fmt.Sprintf(";\nCREATE TRIGGER "+truncated+" AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION agents.declared_truncated(%d)", table, l.g.ID)
}

// withoutStatistics keeps values out of the planner's statistics, which the erasure of an
// agent does not clear. Rows are found by their keys.
func (l *layout) withoutStatistics() string {
	var b strings.Builder
	for _, c := range l.columns {
		fmt.Fprintf(&b, ";\nALTER TABLE %s ALTER COLUMN %s SET STATISTICS 0", l.g.table(), column(c.name))
	}
	for _, name := range l.sums {
		fmt.Fprintf(&b, ";\nALTER TABLE %s ALTER COLUMN %s SET STATISTICS 0", l.g.table(), column(view.SumPrefix+name))
		fmt.Fprintf(&b, ";\nALTER TABLE %s ALTER COLUMN %s SET STATISTICS 0", l.g.entries(), column(name))
	}
	return b.String()
}

// join lists what each makes of the names, separated by commas and after a first one.
func join[T any](first string, all []T, each func(i int, t T) string) string {
	var b strings.Builder
	b.WriteString(first)
	for i, t := range all {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(each(i, t))
	}
	return b.String()
}

// pending marks rows as changed for the bucket, in a statement with the CTE "changed".
const pending = `, noted AS (
	INSERT INTO agents.declared_pending (view, key) SELECT '%s', key FROM changed
	ON CONFLICT (view, key) DO UPDATE SET changed = excluded.changed)`

// noted wraps a statement that returns the changed rows; last reads them.
func (l *layout) noted(statement, last string) string {
	sql := "WITH changed AS (" + statement + ")"
	if l.g.Live && l.g.Definition.In(view.KV) {
		sql += fmt.Sprintf(pending, l.g.View)
	}
	return sql + " " + last
}

// upsertRows writes rows: $1 keys, then the columns.
func (l *layout) upsertRows() string {
	list := join(column(view.KeyColumn), l.columns, func(_ int, c tableColumn) string { return column(c.name) })
	values := join("k", l.columns, func(i int, c tableColumn) string { return fmt.Sprintf("c%d::%s", i, c.typ) })
	arrays := join("$1::text[]", l.columns, func(i int, _ tableColumn) string { return fmt.Sprintf("$%d::text[]", i+2) })
	names := join("k", l.columns, func(i int, _ tableColumn) string { return fmt.Sprintf("c%d", i) })
	conflict := "NOTHING"
	if len(l.columns) > 0 {
		old := join("", l.columns, func(_ int, c tableColumn) string { return "t." + column(c.name) })
		update := join("", l.columns, func(_ int, c tableColumn) string { return "excluded." + column(c.name) })
		set := join("", l.columns, func(_ int, c tableColumn) string { return column(c.name) + " = excluded." + column(c.name) })
		conflict = fmt.Sprintf("UPDATE SET %s WHERE ROW(%s) IS DISTINCT FROM ROW(%s)", set, old, update)
	}
	return l.noted(fmt.Sprintf("INSERT INTO %s AS t (%s) SELECT %s FROM unnest(%s) AS x (%s) ON CONFLICT (key) DO %s RETURNING key",
		l.g.table(), list, values, arrays, names, conflict), "SELECT 1 FROM changed WHERE false")
}

// deleteRows deletes the rows of the keys $1.
func (l *layout) deleteRows() string {
	return l.noted("DELETE FROM "+l.g.table()+" WHERE key = ANY ($1::text[]) RETURNING key", "SELECT 1 FROM changed WHERE false")
}

// deleteEmpty deletes the groups of the keys $1 that have no entry. Their end was noted
// when they lost the last one.
func (l *layout) deleteEmpty() string {
	return "DELETE FROM " + l.g.table() + " WHERE key = ANY ($1::text[]) AND " + l.countColumn() + " = 0"
}

// upsertGroups adds what a batch changes to the groups, and returns the keys of those that
// have no entry left: $1 keys of all changed entries, $2 keys of those that exist, $3 their
// groups, then the values of the group's columns and those of the sums. Groups are changed
// in the order of their keys, so that two partitions do not wait for each other.
func (l *layout) upsertGroups() string {
	by, sums := len(l.columns), len(l.sums)
	arg := 0
	next := func() string { arg++; return fmt.Sprintf("$%d::text[]", arg+3) }
	arrays := join("$2::text[], $3::text[]", make([]int, by+sums), func(int, int) string { return next() })
	names := join("k, g", l.columns, func(i int, _ tableColumn) string { return fmt.Sprintf("b%d", i) })
	names = join(names, l.sums, func(i int, _ string) string { return fmt.Sprintf("s%d", i) })
	each := func(text string) string {
		return join("", l.sums, func(i int, name string) string {
			return strings.NewReplacer("#", fmt.Sprint(i), "@", column(name), "&", column(view.SumPrefix+name)).Replace(text)
		})
	}
	comma := func(s string) string {
		if s == "" {
			return ""
		}
		return ", " + s
	}
	byList := comma(join("", l.columns, func(_ int, c tableColumn) string { return column(c.name) }))
	byValues := comma(join("", l.columns, func(i int, c tableColumn) string { return fmt.Sprintf("v.b%d::%s", i, c.typ) }))
	byNames := comma(join("", l.columns, func(i int, _ tableColumn) string { return fmt.Sprintf("b%d", i) }))
	any := strings.ReplaceAll(each("d.s# <> 0"), ", ", " OR ")
	if any != "" {
		any = " OR " + any
	}
	count := l.countColumn()
	statement := fmt.Sprintf(`
		INSERT INTO %[1]s AS t (key%[2]s, %[3]s%[4]s)
		SELECT d.g%[5]s, d.n%[6]s FROM (
			SELECT g, sum(n) AS n%[7]s FROM (
				SELECT "$group" AS g, -1 AS n%[8]s FROM %[9]s WHERE key = ANY ($1::text[])
				UNION ALL SELECT g, 1%[10]s FROM added) AS both_sides GROUP BY g) AS d
		LEFT JOIN (SELECT DISTINCT ON (g) g%[11]s FROM added) AS v ON v.g = d.g
		WHERE d.n <> 0%[12]s ORDER BY d.g
		ON CONFLICT (key) DO UPDATE SET %[3]s = t.%[3]s + excluded.%[3]s%[13]s
		RETURNING key, %[3]s AS n`,
		l.g.table(), byList, count, comma(each("&")), byValues, comma(each("trim_scale(d.s#)")), comma(each("sum(s#) AS s#")),
		comma(each("-coalesce(@, 0) AS s#")), l.g.entries(), comma(each("coalesce(s#::numeric, 0)")), byNames, any,
		comma(each("& = trim_scale(t.& + excluded.&)")))
	sql := l.noted(statement, "SELECT key FROM changed WHERE n = 0")
	return fmt.Sprintf("WITH added AS (SELECT * FROM unnest(%s) AS x (%s)), ", arrays, names) + strings.TrimPrefix(sql, "WITH ")
}

// upsertEntries writes what entries add: $1 keys, $2 groups, then the values of the sums.
func (l *layout) upsertEntries() string {
	list := join(`key, "$group"`, l.sums, func(_ int, name string) string { return column(name) })
	values := join("k, g", l.sums, func(i int, _ string) string { return fmt.Sprintf("s%d::numeric", i) })
	arrays := join("$1::text[], $2::text[]", l.sums, func(i int, _ string) string { return fmt.Sprintf("$%d::text[]", i+3) })
	names := join("k, g", l.sums, func(i int, _ string) string { return fmt.Sprintf("s%d", i) })
	set := join(`"$group" = excluded."$group"`, l.sums, func(_ int, name string) string { return column(name) + " = excluded." + column(name) })
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM unnest(%s) AS x (%s) ON CONFLICT (key) DO UPDATE SET %s",
		l.g.entries(), list, values, arrays, names, set)
}

func (l *layout) deleteEntries() string {
	return "DELETE FROM " + l.g.entries() + " WHERE key = ANY ($1::text[])"
}

// fence is pg.Fence for a generation that is still there: $6 its id.
const fence = pg.Fence + ` AND EXISTS (SELECT FROM agents.declared_generations WHERE id = $6)`
