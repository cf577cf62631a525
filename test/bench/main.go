// Command bench measures the engine against raw clients of the same servers in
// the same run. It starts the engine's binary, alternates each cell with its
// yardstick and prints their ratio: only the ratio is meaningful on other machines
// and at other times.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == bareCommand {
		os.Exit(bareServers(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == floodCommand {
		os.Exit(runFlood(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == nodeCommand {
		os.Exit(clusterNode(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// options of a run.
type options struct {
	quick   bool
	json    bool
	cells   string
	doc     string
	soak    time.Duration // 0 = no soak
	engine  string        // binary to measure; "" = build the current module
	command string        // command line of the run, for the document
	size    size
}

func run(ctx context.Context, args []string) int {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.BoolVar(&o.quick, "quick", false, "fewer repetitions, shorter, smaller: a few minutes")
	flags.BoolVar(&o.json, "json", false, "print the results as JSON")
	flags.StringVar(&o.cells, "cells", "", "only cells whose name matches this `regexp`")
	flags.StringVar(&o.doc, "doc", "", "write the report to this `file` and its plots beside it")
	flags.StringVar(&o.engine, "engine", "", "measure this `binary` of the engine; default: build it from this module")
	flags.DurationVar(&o.soak, "soak", 0, "duration of the soak, for example 10m; default: no soak")
	entries := flags.Int("large", 0, "entries of the large journal; default 1,000,000, quick 50,000")
	list := flags.Bool("list", false, "list the cells and exit")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: unexpected argument %q\n", flags.Arg(0))
		return 2
	}
	if o.size = fullSize; o.quick {
		o.size = quickSize
	}
	if *entries > 0 {
		o.size.large = *entries
	}
	o.command = commandLine(&o)
	wanted, err := regexp.Compile(o.cells)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: -cells:", err)
		return 2
	}
	cells := chosen(allCells, wanted)
	if len(cells) == 0 {
		fmt.Fprintf(os.Stderr, "bench: no cell's name matches %q; -list shows them\n", o.cells)
		return 2
	}
	if *list {
		for _, c := range cells {
			fmt.Printf("%-22s %s\n", c.name, c.what)
		}
		return 0
	}
	if err := measure(ctx, &o, cells); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func commandLine(o *options) string {
	line := "make bench"
	if o.quick {
		line += " QUICK=1"
	}
	if o.cells != "" {
		line += " CELLS='" + o.cells + "'"
	}
	args := ""
	if o.size.large != fullSize.large && !o.quick {
		args += " -large " + strconv.Itoa(o.size.large)
	}
	if o.soak > 0 {
		args += " -soak " + o.soak.String()
	}
	if args != "" {
		line += " ARGS='" + args[1:] + "'"
	}
	return line
}

// chosen returns the cells whose name matches.
func chosen(all []cell, wanted *regexp.Regexp) (some []cell) {
	for _, c := range all {
		if wanted.MatchString(c.name) {
			some = append(some, c)
		}
	}
	return some
}

// measure runs the cells one after another and prints the results. A failed cell
// does not stop the others.
func measure(ctx context.Context, o *options, cells []cell) error {
	b := &bench{options: o, log: os.Stderr, binary: o.engine}
	defer b.close()
	began := time.Now()
	var results []result
	var before []float64
	var failed []error
	for i := range cells {
		before = append(before, busy(beforehand))
		fmt.Fprintf(b.log, "%3d/%d %-22s ", i+1, len(cells), cells[i].name)
		r, err := b.play(ctx, &cells[i])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", cells[i].name, err))
			r.Missing = "it failed: " + err.Error()
			b.stop()
		}
		fmt.Fprintln(b.log, r.line())
		results = append(results, r)
	}
	rep := report{
		Command: o.command, Date: began.UTC().Format("2006-01-02"), Took: time.Since(began).Round(time.Second).String(),
		Machine: machine(), Busy: mean(before), Cells: results, Curves: b.curves,
	}
	if o.doc != "" {
		if err := rep.write(o.doc); err != nil {
			return err
		}
	}
	failed = append(failed, rep.print(o.json))
	return errors.Join(failed...)
}
