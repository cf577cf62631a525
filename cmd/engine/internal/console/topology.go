package console

// topology shows what is on the server, and what should be.
func (c *Console) topology(r *request) (view, error) {
	t, err := c.cfg.Operations.Topology(r.Context(), r.caller())
	if err != nil {
		return view{}, err
	}
	return view{title: "Topology", nav: "/topology", body: topologyPage(r, t), live: true}, nil
}

// differing is the number of things that are not as the document says.
func (t *Topology) differing() (n int) {
	for _, thing := range t.Things {
		if thing.State != "match" {
			n++
		}
	}
	return n
}

// wanted is the number of things in the document.
func (t *Topology) wanted() (n int) {
	for _, thing := range t.Things {
		if !thing.Own {
			n++
		}
	}
	return n
}

// limitText is a limit of bytes; below 1 = none.
func limitText(n int64) string {
	if n < 1 {
		return "no limit"
	}
	return bytesText(uint64(n))
}
