package coordination

import "time"

// SetClock gives timers that are not used yet another clock of the engine.
func (t *Timers) SetClock(now func() time.Time) { t.server.now = now }

// Sleep makes timers see that the machine has slept since their last Check.
func (t *Timers) Sleep(d time.Duration) { t.server.last.engine = t.server.last.engine.Add(-d) }
