package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tidemark-engine/tidemark/infra/natsio/embedded"
	"github.com/tidemark-engine/tidemark/infra/pg/local"
)

// bareCommand is the argument with which this program starts itself as the bare
// servers.
const bareCommand = "bare-servers"

// bareCreds is the file of the credentials of the bare NATS server's engine, in its data directory:
// without an engine no other client has JetStream.
const bareCreds = "bare.creds"

// bareServers runs NATS and PostgreSQL on a data directory until standard input
// ends. For each byte read from there it returns free memory to the system.
func bareServers(args []string) int {
	if len(args) != 1 {
		return 2
	}
	data, log := args[0], slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	var both sync.WaitGroup
	var ns *embedded.Server
	var db *local.Server
	var nsErr, dbErr error
	both.Go(func() { ns, nsErr = embedded.Start(embedded.Config{Dir: data, Listen: "127.0.0.1:0", Log: log}) })
	both.Go(func() {
		db, dbErr = local.Start(context.Background(), local.Config{Dir: filepath.Join(data, "postgres"), Log: log})
	})
	both.Wait()
	if nsErr == nil {
		var creds []byte
		if creds, nsErr = ns.Authority().EngineCreds(); nsErr == nil {
			nsErr = os.WriteFile(filepath.Join(data, bareCreds), creds, 0o600)
		}
	}
	code := 0
	if nsErr != nil || dbErr != nil {
		fmt.Fprintln(os.Stderr, nsErr, dbErr)
		code = 1
	} else {
		fmt.Println(ns.URL())
		for word := make([]byte, 1); ; {
			if n, _ := os.Stdin.Read(word); n == 0 {
				break
			}
			for range 3 { // as an engine does, or its garbage would be counted as what it needs
				debug.FreeOSMemory()
			}
		}
	}
	if ns != nil {
		ns.Stop()
	}
	if db != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = db.Stop(ctx)
	}
	return code
}

// bare is a running process of the bare servers.
type bare struct {
	url   string
	ready time.Duration
	cmd   *exec.Cmd
	ended chan struct{}
	in    *os.File
}

func startBare(data string) (*bare, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	in, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b := &bare{cmd: exec.Command(self, bareCommand, data), ended: make(chan struct{}), in: stdin}
	out, outEnd, err := os.Pipe()
	if err != nil {
		stdin.Close()
		return nil, err
	}
	defer out.Close()
	b.cmd.Stdin, b.cmd.Stdout, b.cmd.Stderr, b.cmd.Env = in, outEnd, os.Stderr, cleanEnv()
	began := time.Now()
	err = launch(b.cmd, b.ended)
	outEnd.Close()
	if err != nil {
		stdin.Close()
		return nil, fmt.Errorf("start the bare servers: %w", err)
	}
	line := make([]byte, 200)
	n, err := out.Read(line)
	b.ready = time.Since(began)
	if b.url = strings.TrimSpace(string(line[:n])); err != nil {
		b.stop()
		return nil, fmt.Errorf("the bare servers did not come up: %w", err)
	}
	return b, nil
}

// freeMemory makes the bare servers return free memory to the system.
func (b *bare) freeMemory() error {
	_, err := b.in.Write([]byte{1})
	return err
}

func (b *bare) stop() {
	b.in.Close()
	select {
	case <-b.ended:
	case <-time.After(40 * time.Second):
		_ = b.cmd.Process.Signal(syscall.SIGKILL)
		<-b.ended
	}
}

// memory returns the minimum of a process's resident set, in bytes, over a period
// in which the process returns free memory to the system.
func memory(pid int, rest time.Duration) (least float64, err error) {
	for began := time.Now(); least == 0 || time.Since(began) < rest; {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, unavailable("resident memory is read from /proc: " + err.Error())
		}
		_, rest, _ := strings.Cut(string(text), "VmRSS:")
		var kib float64
		if _, err := fmt.Sscanf(rest, "%f kB", &kib); err != nil {
			return 0, err
		}
		if least == 0 || kib*1024 < least {
			least = kib * 1024
		}
		time.Sleep(500 * time.Millisecond)
	}
	return least, nil
}

// runEngine runs a subcommand of the engine and passes its output to take.
func (b *bench) runEngine(ctx context.Context, take func(out *os.File) error, args ...string) error {
	cmd := exec.CommandContext(ctx, b.binary, args...)
	cmd.Env = cleanEnv()
	out, outEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	var stderr strings.Builder
	cmd.Stdout, cmd.Stderr = outEnd, &stderr
	err = cmd.Start()
	outEnd.Close()
	if err != nil {
		return err
	}
	taken := take(out)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("engine %s: %w: %.500s", strings.Join(args, " "), err, stderr.String())
	}
	return taken
}

// requireCommand fails with unavailable when this build of the engine reports a usage
// error for a command line.
func (b *bench) requireCommand(ctx context.Context, args ...string) error {
	if err := b.build(ctx); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, b.binary, args...).CombinedOutput()
	var code *exec.ExitError
	if errors.As(err, &code) && code.ExitCode() == 2 {
		why, _, _ := strings.Cut(string(out), "\n")
		return unavailable("`engine " + strings.Join(args[:2], " ") + "`: " + why)
	}
	return err
}
