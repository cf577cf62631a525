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
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// account is the operating system user that runs initdb and postgres. Both
// refuse to run as root.
type account struct {
	uid, gid uint32
}

// clusterAccount returns the owner of the cluster, because postgres refuses the
// data directory of another user. For a new cluster it returns defaultAccount.
func clusterAccount(pgdata string) (account, error) {
	info, err := os.Stat(pgdata)
	if errors.Is(err, fs.ErrNotExist) {
		return defaultAccount()
	}
	if err != nil {
		return account{}, err
	}
	owner, me := info.Sys().(*syscall.Stat_t), uint32(os.Geteuid())
	as := account{owner.Uid, owner.Gid}
	switch {
	case me != 0 && owner.Uid != me:
		return account{}, fmt.Errorf("the cluster belongs to user %s: run the engine as the user that created it (root, perhaps), or use another directory", as)
	case owner.Uid != 0:
		return as, nil
	case exists(filepath.Join(pgdata, "PG_VERSION")):
		return account{}, fmt.Errorf("the cluster %s belongs to root, and postgres does not run as root: chown -R it to an unprivileged user", pgdata)
	}
	return defaultAccount()
}

// defaultAccount is the engine's own user, or for root the user postgres, else
// nobody: initdb needs a user with a passwd entry.
func defaultAccount() (account, error) {
	if me := os.Geteuid(); me != 0 {
		return account{uint32(me), uint32(os.Getegid())}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, _ := strconv.ParseUint(u.Uid, 10, 32) // always numeric on Unix
			gid, _ := strconv.ParseUint(u.Gid, 10, 32)
			return account{uint32(uid), uint32(gid)}, nil
		}
	}
	return account{}, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody: useradd --system postgres")
}

// String is the user's name, or the id of a user without a passwd entry.
func (a account) String() string {
	id := strconv.FormatUint(uint64(a.uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// chown gives path, which the engine has created, to the account.
func (a account) chown(path string) error { return os.Lchown(path, int(a.uid), int(a.gid)) }

// command runs a program as the account, in dir. Its own process group keeps
// the terminal's Ctrl-C away from it. The environment is bare: PG* variables
// change what postgres does, and the engine's secrets are not for it.
func (a account) command(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"LC_ALL=C"} // messages in English
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	// Backends inherit the output pipe and may outlive a killed postmaster: do
	// not wait until they close it.
	cmd.WaitDelay = 500 * time.Millisecond
	return cmd
}

// run runs a short program to its end and returns its output. The program and
// its children end with ctx and with the engine.
func (a account) run(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := a.command(ctx, dir, program, args...)
	signalOnParentDeath(cmd.SysProcAttr, syscall.SIGKILL)
	runtime.LockOSThread() // see startChild
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return string(out), err
}

// canEnter reports whether the account can work in dir. It tries: mode bits
// alone miss ACLs and security modules.
func (a account) canEnter(ctx context.Context, dir string) (bool, error) {
	_, err := a.run(ctx, dir, "true")
	if errors.Is(err, syscall.EACCES) {
		return false, nil
	}
	if errors.Is(err, syscall.EPERM) {
		err = fmt.Errorf("root may not run programs as user %s: allow CAP_SETUID and CAP_SETGID, or run the engine as another user: %w", a, err)
	}
	return err == nil, err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
