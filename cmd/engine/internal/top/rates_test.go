package top

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// TestNoChangeIsZero: an engine without requests has rates of zero, and not almost zero, which
// was shown as -0.0.
func TestNoChangeIsZero(t *testing.T) {
	var text strings.Builder
	for i := range 60 {
		fmt.Fprintf(&text, "tidemark_requests_total{verb=\"commands.v%d\",outcome=\"4%02d\"} %d\n", i, i, i*i*7+3)
		fmt.Fprintf(&text, "tidemark_requests_total{verb=\"queries.v%d\",outcome=\"ok\"} %d\n", i, i*13+1)
		fmt.Fprintf(&text, "tidemark_tier_hits_total{tier=\"kv\",query=\"q%d\"} %d\n", i, i*11+5)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	metrics, err := parser.TextToMetricFamilies(strings.NewReader("# TYPE tidemark_requests_total counter\n# TYPE tidemark_tier_hits_total counter\n" + text.String()))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for range 20 { // the order of a map differs
		r := rates(&look{at: at, metrics: metrics}, &look{at: at.Add(1037 * time.Millisecond), metrics: metrics})
		if r.Commands != 0 || r.Queries != 0 || r.Errors != 0 || r.Appends != 0 || r.Tiers["kv"] != 0 {
			t.Fatalf("%+v", r)
		}
	}
	r := rates(&look{at: at}, &look{at: at.Add(2 * time.Second), metrics: metrics})
	if r.Errors != r.Commands || r.Commands != (60*3+7*59*60*119/6)/2.0 || r.Tiers["kv"] != (60*5+11*59*60/2)/2.0 {
		t.Errorf("%+v", r)
	}
}
