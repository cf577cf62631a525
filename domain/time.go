package domain

import "time"

// ParseTime parses an RFC 3339 time with at most nine digits of a second and
// returns it in UTC. time.Parse alone also takes a comma, more digits, hours of
// one digit and offsets of 24 hours. It fails with 400 timestamp.invalid, also for
// times that are not in the years 1 to 9999 in UTC, which JSON cannot carry. noun
// names the member in the message.
func ParseTime(noun, text string) (time.Time, error) {
	if !rfc3339(text) {
		return time.Time{}, Errorf(Invalid, "timestamp.invalid",
			"%s %.64q is not an RFC 3339 time, such as 2026-01-02T15:04:05.123Z", noun, text)
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, Errorf(Invalid, "timestamp.invalid", "%s %.64q is not an RFC 3339 time: there is no such day or hour", noun, text)
	}
	if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, Errorf(Invalid, "timestamp.invalid",
			"%s %.64q cannot be stored: RFC 3339 times are in the years 1 to 9999 in UTC", noun, text)
	}
	return t, nil
}

// rfc3339 reports whether text has the form of RFC 3339, section 5.6. It does not
// check that day, hour and minute exist.
func rfc3339(text string) bool {
	const form = "dddd-dd-ddTdd:dd:dd"
	if len(text) < len(form) || !matches(text[:len(form)], form) {
		return false
	}
	text = text[len(form):]
	if len(text) > 0 && text[0] == '.' {
		n := 1
		for n < len(text) && digit(text[n]) {
			n++
		}
		if n < 2 || n > 10 {
			return false
		}
		text = text[n:]
	}
	if text == "Z" {
		return true
	}
	return (matches(text, "+dd:dd") || matches(text, "-dd:dd")) && text[1:3] < "24" && text[4:] < "60"
}

// matches compares text with a form in which d stands for any digit.
func matches(text, form string) bool {
	if len(text) != len(form) {
		return false
	}
	for i := range len(form) {
		if form[i] == 'd' && !digit(text[i]) || form[i] != 'd' && form[i] != text[i] {
			return false
		}
	}
	return true
}

func digit(c byte) bool { return c >= '0' && c <= '9' }
