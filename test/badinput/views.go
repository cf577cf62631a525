package badinput

import (
	"fmt"
	"strings"
)

// badViews are bodies of view.define and view.remove.
func badViews() (all []Case) {
	const columns = `"columns":{"a":{"path":"/value/a","type":"text"},"n":{"path":"/value/n","type":"numeric"}}`
	define := func(body, code, place string) {
		all = append(all, Case{command("view.v1.define", body), 400, code, place})
	}
	for _, c := range [][3]string{ // members instead of from or beside it and the columns
		{`"from":"states"`, "view.invalid", "/from"}, {`"from":""`, "view.invalid", "/from"}, {`"from":1`, "body.invalid", "/from"}, {`"from":"messages"`, "view.invalid", "message, reminder"},
		{`"from":["state"]`, "body.invalid", "/from"}, {`"from":null`, "body.missing_field", "/from"}, {`"agents":"*"`, "body.missing_field", "/from"},
		{`"from":"state","name":"v2"`, "view.invalid", "/name"}, {`"from":"state","name":""`, "view.invalid", "/name"}, {`"from":"state","name":1`, "body.invalid", "/name"},
		{`"from":"state","agents":""`, "view.invalid", "/agents"}, {`"from":"state","agents":"a.*"`, "view.invalid", "/agents"},
		{`"from":"state","agents":"é*"`, "view.invalid", "'é'"}, {`"from":"state","agents":["a"]`, "body.invalid", "/agents"},
		{`"from":"state","agents":"` + strings.Repeat("a", 129) + `"`, "view.invalid", "128"}, {`"from":"state","keys":"order.>"`, "view.invalid", "/keys"},
		{`"from":"state","keys":""`, "view.invalid", "/keys"}, {`"from":"state","keys":"a b"`, "view.invalid", "/keys"}, {`"from":"state","keys":"` + strings.Repeat("k", 256) + `"`, "view.invalid", "255"},
		{`"from":"state","into":[]`, "view.invalid", "/into"}, {`"from":"state","into":["mongo"]`, "view.invalid", "/into/0"}, {`"from":"state","into":["sql","sql"]`, "view.invalid", "/into/1"},
		{`"from":"state","into":"sql"`, "body.invalid", "/into"}, {`"from":"state","into":[1]`, "body.invalid", "/into/0"},
		{`"from":"state","where":{}`, "body.unknown_field", "/where"}, {`"From":"state"`, "body.unknown_field", "/From"}, {`"from":"state","from":"task"`, "json.invalid", "/from"},
		{`"from":"state","expected_version":-1`, "body.invalid", "/expected_version"}, {`"from":"state","expected_version":"1"`, "body.invalid", "/expected_version"},
		{`"from":"state","group":{}`, "view.invalid", "/group"}, {`"from":"state","group":{"count":false,"by":[]}`, "view.invalid", "/group"}, {`"from":"state","group":[]`, "body.invalid", "/group"},
		{`"from":"state","group":{"by":["b"],"count":true}`, "view.invalid", "/group/by/0"}, {`"from":"state","group":{"by":["a","a"]}`, "view.invalid", "/group/by/1"},
		{`"from":"state","group":{"by":"a"}`, "body.invalid", "/group/by"}, {`"from":"state","group":{"sum":["a"]}`, "view.invalid", "/group/sum/0"},
		{`"from":"state","group":{"sum":["n","n"]}`, "view.invalid", "/group/sum/1"}, {`"from":"state","group":{"sum":["x"]}`, "view.invalid", "/group/sum/0"},
		{`"from":"state","group":{"count":1}`, "body.invalid", "/group/count"}, {`"from":"state","group":{"count":true,"max":["n"]}`, "body.unknown_field", "/group/max"},
	} {
		define("{"+c[0]+","+columns+"}", c[1], c[2])
	}
	for _, c := range [][3]string{ // the member columns
		{`{}`, "view.invalid", "/columns"}, {`null`, "body.missing_field", "/columns"}, {`[]`, "body.invalid", "/columns"}, {`{"a":null}`, "view.invalid", "/columns/a"},
		{`{"a":"/value/a"}`, "body.invalid", "/columns/a"}, {`{"a":{}}`, "body.missing_field", "/columns/a/path"}, {`{"a":{"path":"/a"}}`, "body.missing_field", "/columns/a/type"},
		{`{"a":{"path":"/a","type":"int"}}`, "view.invalid", "/columns/a/type"}, {`{"a":{"path":"a","type":"text"}}`, "view.invalid", "/columns/a/path"},
		{`{"a":{"path":"$.a","type":"text"}}`, "view.invalid", "/columns/a/path"}, {`{"a":{"path":"/a~2","type":"text"}}`, "view.invalid", "/columns/a/path"},
		{`{"a":{"path":"/a~","type":"text"}}`, "view.invalid", "/columns/a/path"}, {`{"a":{"path":"/` + strings.Repeat("p", 512) + `","type":"text"}}`, "view.invalid", "512"},
		{`{"a":{"path":1,"type":"text"}}`, "body.invalid", "/columns/a/path"}, {`{"a":{"path":"/a","type":"text","null":true}}`, "body.unknown_field", "/columns/a/null"},
		{`{"a":{"path":"/a","type":"text"},"a":{"path":"/b","type":"text"}}`, "json.invalid", "/columns/a"},
		{`{"a/b":{"path":"/a","type":"text"}}`, "view.invalid", "/columns/a~1b"},
	} {
		define(`{"from":"state","columns":`+c[0]+`}`, c[1], c[2])
	}
	for _, name := range []string{
		"", "A", "a-b", "a b", "1a", "é", `a\"b`, "key", "revision", "ctid", "xmin", "tableoid", strings.Repeat("c", 64), "a;drop table agents.state",
	} {
		define(`{"from":"state","columns":{"`+name+`":{"path":"/a","type":"text"}}}`, "view.invalid", "/columns/")
	}
	var many []string
	for i := range 33 {
		many = append(many, fmt.Sprintf(`"c%d":{"path":"/a","type":"text"}`, i))
	}
	define(`{"from":"state","columns":{`+strings.Join(many, ",")+`}}`, "view.invalid", "at most 32 columns, this has 33")
	define(`{"from":"state","columns":{"n":{"path":"/n","type":"numeric"},"sum_n":{"path":"/m","type":"text"}},"group":{"by":["sum_n"],"sum":["n"]}}`, "view.invalid", "/group/by/0")
	define(`{"from":"state","columns":{"count":{"path":"/n","type":"numeric"}},"group":{"by":["count"],"count":true}}`, "view.invalid", "/group/by/0")
	define(`{"from":"state","columns":{"`+strings.Repeat("n", 60)+`":{"path":"/n","type":"numeric"}},"group":{"sum":["`+strings.Repeat("n", 60)+`"]}}`, "view.invalid", "/group/sum/0")
	for _, body := range []string{``, `{}`, `{"columns":{}}`} {
		define(body, "body.missing_field", "/from")
	}
	for _, body := range []string{`[]`, `"state"`, `1`} {
		define(body, "body.invalid", "JSON object")
	}
	for id, place := range map[string]string{"Orders": `"orders"`, "a$b": "'$'", "v.1": "2 tokens", strings.Repeat("v", 49): "48", strings.Repeat("v", 129): "129"} {
		all = append(all,
			Case{command("view."+id+".define", `{"from":"state",`+columns+`}`), 400, "id.invalid", place},
			Case{command("view."+id+".remove", `{}`), 400, "id.invalid", place})
	}
	return append(all,
		Case{command("view.v1.define", `{"from":"state",`+columns+`,"expected_version":1}`), 409, "state.conflict", "it is 0"},
		Case{command("view.ghost.remove", ``), 404, "view.not_found", "ghost"},
		Case{command("view.v1.remove", `{"reason":"r"}`), 400, "body.unknown_field", "/reason"},
		Case{command("view.v1.remove", `{"expected_version":1}`), 400, "body.unknown_field", "/expected_version"},
		Case{command("view.v1.remove", `[]`), 400, "body.invalid", "JSON object"},
		Case{command("view.v1.add", `{}`), 404, "command.unknown", "define, remove"})
}
