package deploy_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The unit is what systemd knows, where there is systemd, and drops what the engine does
// not need.
func TestSystemd(t *testing.T) {
	unit := read(t, "../systemd/tidemark.service")
	for _, line := range []string{
		"ExecStart=/usr/bin/tidemark serve --config /etc/tidemark/engine.yaml", "User=tidemark", "KillMode=mixed", "NoNewPrivileges=yes", "ProtectSystem=strict",
		"CapabilityBoundingSet=", "StateDirectory=tidemark", "WorkingDirectory=/var/lib/tidemark",
	} {
		if !bytes.Contains(unit, []byte("\n"+line+"\n")) {
			t.Errorf("the unit has no line %s", line)
		}
	}
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze is not on this machine: the unit is not verified")
		return
	}
	file := filepath.Join(t.TempDir(), "tidemark.service")
	runs := bytes.ReplaceAll(unit, []byte("/usr/bin/tidemark"), []byte("/bin/true")) // the program is not installed here
	must(t, os.WriteFile(file, runs, 0o600))
	out, err := exec.CommandContext(t.Context(), program, "verify", file).CombinedOutput()
	if err != nil || strings.Contains(string(out), "tidemark.service") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
