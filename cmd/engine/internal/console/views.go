package console

import (
	"context"
	"net/url"
	"slices"
	"time"
)

// viewRow is a view with all its partitions.
type viewRow struct {
	name  string
	parts []viewStatus
	why   string // why it cannot be rebuilt; empty = it can
}

// viewsData is what the page of the views shows.
type viewsData struct {
	rows []viewRow
	jobs []Job
}

// views shows how far the views are, and the rebuilds and verifications.
func (c *Console) views(r *request) (view, error) {
	s, err := r.status()
	if err != nil {
		return view{}, err
	}
	if s.Journal == nil {
		return view{}, Forbidden("admin status")
	}
	d := viewsData{jobs: c.cfg.Operations.Jobs(r.caller())}
	for _, v := range s.Views {
		i := slices.IndexFunc(d.rows, func(row viewRow) bool { return row.name == v.Name })
		if i < 0 {
			i = len(d.rows)
			d.rows = append(d.rows, viewRow{name: v.Name, why: c.cfg.Operations.NotRebuilt(v.Name)})
		}
		d.rows[i].parts = append(d.rows[i].parts, v)
	}
	return view{title: "Views", nav: "/views", body: viewsPage(r, d), live: true}, nil
}

// share is how much of a job's step is done; below 0 = not known.
func (j *Job) share() float64 {
	if j.Of == 0 {
		return -1
	}
	return float64(j.Events) / float64(j.Of)
}

// state is a word for a job.
func (j *Job) state() string {
	switch {
	case j.Ended.IsZero():
		return "running"
	case j.Failed != "":
		return "failed"
	case !j.OK:
		return "different"
	case j.Kind == "verify":
		return "equal"
	}
	return "completed"
}

// took is how long a job has run.
func (j *Job) took(now time.Time) string {
	end := j.Ended
	if end.IsZero() {
		end = now
	}
	return short(max(end.Sub(j.Began), time.Millisecond))
}

func rebuildView(r *request, f url.Values) (plan, error) {
	name := f.Get("view")
	ops, who := r.c.cfg.Operations, r.caller()
	p := plan{
		title: "Rebuild the view " + name, button: "Rebuild " + name, back: "/views",
		line: "engine rebuild" + r.c.cfg.Flags + " " + shellWord(name),
		says: "The view " + name + " is rebuilt; the page of the views shows the progress.",
		do: func(ctx context.Context, id string) (any, error) {
			return map[string]string{"job": id, "view": name, "result": "begun"}, ops.Rebuild(ctx, who, id, name)
		},
	}
	if f.Get("command_id") != "" { // confirmed
		return p, nil
	}
	plan, err := ops.RebuildPlan(r.Context(), who, name)
	if err != nil {
		return p, err
	}
	p.says = "The view " + name + " is folded again from the journal and corrected where it differs."
	p.more = rebuildPlan(plan)
	return p, nil
}

func verifyAll(r *request, _ url.Values) (plan, error) {
	ops, who := r.c.cfg.Operations, r.caller()
	return plan{
		title: "Verify", button: "Verify", back: "/views",
		line: "engine verify" + r.c.cfg.Flags,
		says: "The whole journal is folded, and KV, SQL and the archive are compared with it. Nothing is changed. It reads every event and every row.",
		do: func(ctx context.Context, id string) (any, error) {
			return map[string]string{"job": id, "result": "begun"}, ops.Verify(ctx, who, id)
		},
	}, nil
}
