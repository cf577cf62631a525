package badinput

// badClaims are bodies of the verbs of a claim.
func badClaims() (all []Case) {
	fence := map[string]string{"acquire": "", "renew": `,"fence":1`, "release": `,"fence":1`}
	for verb, fence := range fence {
		subject := "claim.c1." + verb
		for _, c := range [][3]string{
			{`"owner":""`, "id.invalid", "owner is empty"}, {`"owner":"a b"`, "id.invalid", "' '"}, {`"owner":"a.b"`, "id.invalid", "dot"},
			{`"owner":"*"`, "id.invalid", "'*'"}, {`"owner":7`, "body.invalid", "/owner"}, {`"owner":["o"]`, "body.invalid", "/owner"},
			{`"owner":"o","key":"k"`, "body.unknown_field", "/key"}, {`"owner":"o","ttl":1`, "body.unknown_field", "/ttl"},
			{`"owner":"o","owner":"p"`, "json.invalid", "/owner"}, {`"Owner":"o"`, "body.unknown_field", "/Owner"},
		} {
			all = append(all, Case{command(subject, "{"+c[0]+fence+"}"), 400, c[1], c[2]})
		}
		if verb == "release" {
			all = append(all, Case{command(subject, `{"owner":"o","fence":1,"lease_ms":1}`), 400, "body.unknown_field", "/lease_ms"})
			continue
		}
		for _, lease := range [][2]string{
			{"0", "lease_ms.invalid"}, {"-1", "lease_ms.invalid"}, {"31536000001", "lease_ms.invalid"}, {"9223372036854775807", "lease_ms.invalid"},
			{"9223372036854775808", "body.invalid"}, {"1.5", "body.invalid"}, {"1e3", "body.invalid"}, {`"60"`, "body.invalid"}, {"true", "body.invalid"},
		} {
			place := "/lease_ms"
			if lease[1] == "lease_ms.invalid" {
				place = "31536000000"
			}
			all = append(all, Case{command(subject, `{"owner":"o"`+fence+`,"lease_ms":`+lease[0]+"}"), 400, lease[1], place})
		}
	}
	for _, verb := range []string{"renew", "release"} {
		for _, fence := range []string{"-1", "1.5", `"1"`, "18446744073709551616", "1e2", "[1]", "true"} {
			all = append(all, Case{command("claim.c1."+verb, `{"owner":"o","fence":`+fence+"}"), 400, "body.invalid", "/fence"})
		}
		all = append(all, Case{command("claim.ghost."+verb, `{"owner":"o","fence":1}`), 404, "claim.not_found", "ghost"})
	}
	return append(all,
		Case{command("claim.c1.acquire", `{"owner":"o","fence":1}`), 400, "body.unknown_field", "/fence"},
		Case{command("claim.c1.renew", `{"owner":"o","fence":1,"data":1}`), 400, "body.unknown_field", "/data"},
		Case{command("claim.c1.expire", `{}`), 404, "command.unknown", "acquire, release, renew"},
		Case{command("claim.c1.take", `{}`), 404, "command.unknown", "acquire, release, renew"})
}
