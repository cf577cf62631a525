package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// account is the user that initdb and postgres run as.
type account struct {
	name string
	cred *syscall.Credential // nil: ourselves
}

// accountFor is the owner of the cluster, else whom a new one will belong to:
// postgres refuses a data directory that belongs to anyone else, so the choice
// made by the first start stays.
func accountFor(data string) (account, error) {
	info, err := os.Stat(data)
	if errors.Is(err, fs.ErrNotExist) {
		return unprivileged()
	}
	if err != nil {
		return account{}, err
	}
	owner := info.Sys().(*syscall.Stat_t)
	if me := os.Geteuid(); me != 0 {
		if int(owner.Uid) != me {
			return account{}, fmt.Errorf("the cluster belongs to user %s: run as whoever made it (root, perhaps), or use another directory", nameOf(owner.Uid))
		}
		return unprivileged()
	}
	if owner.Uid != 0 {
		return lend(owner.Uid, owner.Gid), nil
	}
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err == nil {
		return account{}, fmt.Errorf("the cluster %s belongs to root, as whom postgres does not run: chown -R it to an unprivileged user", data)
	}
	return unprivileged()
}

// unprivileged is ourselves, or for root the user postgres, else nobody: initdb
// wants one with a passwd entry.
func unprivileged() (account, error) {
	if me := os.Geteuid(); me != 0 {
		return account{name: nameOf(uint32(me))}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil && uid != 0 {
			return lend(uint32(uid), uint32(gid)), nil
		}
	}
	return account{}, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody: useradd --system postgres")
}

func lend(uid, gid uint32) account {
	a := account{name: nameOf(uid), cred: &syscall.Credential{Uid: uid, Gid: gid}}
	u, err := user.LookupId(strconv.Itoa(int(uid)))
	if err != nil {
		return a // the owner of a cluster from elsewhere: the server itself needs no passwd entry
	}
	ids, _ := u.GroupIds()
	for _, id := range ids {
		if n, err := strconv.ParseUint(id, 10, 32); err == nil {
			a.cred.Groups = append(a.cred.Groups, uint32(n))
		}
	}
	return a
}

func nameOf(uid uint32) string {
	id := strconv.Itoa(int(uid))
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// give makes path the account's.
func (a account) give(path string) error {
	if a.cred == nil {
		return nil
	}
	return os.Chown(path, int(a.cred.Uid), int(a.cred.Gid))
}

// command runs a program as the account, in dir, in a process group of its own
// (a Ctrl-C on the terminal is the engine's to handle), and with a bare
// environment: PG* variables change what postgres does, and it has no business
// with the engine's secrets or systemd's NOTIFY_SOCKET. LC_ALL keeps its
// messages in English.
func (a account) command(dir, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"LC_ALL=C"}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); name == "PATH" || name == "LD_LIBRARY_PATH" || name == "DYLD_LIBRARY_PATH" {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.cred, Setpgid: true}
	return cmd
}

// reaches tells whether the account can work in dir, by doing it: mode bits
// alone would miss ACLs and security modules.
func (a account) reaches(dir string) (bool, error) {
	if a.cred == nil {
		return true, nil
	}
	program, err := exec.LookPath("true")
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := run(ctx, a.command("/", program)); err != nil {
		return false, fmt.Errorf("root could not start a program as user %s: %w", a.name, err)
	}
	_, err = run(ctx, a.command(dir, program))
	if errors.Is(err, fs.ErrPermission) {
		return false, nil
	}
	return err == nil, err
}
