package reference

import "github.com/tidemark-engine/tidemark/internal/contract"

// schemas are the JSON Schemas: one file for each shape, each body and each event type. A file
// refers to others by their names.
func schemas() map[string]any {
	o := contract.Options{Ref: func(name string) string { return name + ".json" }}
	files := map[string]any{}
	add := func(name, title string, s contract.Schema) {
		s["$schema"], s["$id"], s["title"] = contract.Dialect, name+".json", title
		files["schemas/"+name+".json"] = s
	}
	for name, shape := range contract.Shapes {
		if name != "EventTail" { // it only shares members
			add(name, name, shape.Schema(o))
		}
	}
	for name, m := range contract.Commands {
		add("command."+name, "Body of "+name, m.Request(o.Ref))
	}
	for name, m := range contract.Queries {
		add("query."+name, "Body of "+name, m.Request(o.Ref))
	}
	for typ := range contract.Events {
		add("event."+typ, "Event "+typ, contract.EventSchema(typ, o))
	}
	return files
}
