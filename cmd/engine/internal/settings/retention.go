package settings

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-engine/tidemark/domain"
)

// RetentionAges reads --retention.
func (c *Config) RetentionAges() (map[string]time.Duration, error) {
	ages := make(map[string]time.Duration, len(c.Retention))
	for prefix, text := range c.Retention {
		days, ok := strings.CutSuffix(text, "d")
		n, err := strconv.ParseUint(days, 10, 16)
		age := time.Duration(n) * 24 * time.Hour
		if !ok || err != nil {
			age, err = time.ParseDuration(text)
		}
		if err != nil || age < 0 || age > longest || age != 0 && age < time.Second {
			return nil, fmt.Errorf("--retention %s=%s: an age is 1s to 3650d, as in 30d, 12h or 90m; 0 keeps the entries", prefix, text)
		}
		if prefix == "*" {
			prefix = ""
		}
		if prefix != "" && domain.CheckKey(strings.TrimSuffix(prefix, ".")) != nil {
			return nil, fmt.Errorf("--retention: %.64q is not a prefix of keys", prefix)
		}
		ages[prefix] = age
	}
	if len(ages) > 0 && c.Postgres == "off" {
		return nil, errors.New("--retention needs SQL, which --postgres off leaves out")
	}
	return ages, nil
}
