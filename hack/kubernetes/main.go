// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command kubernetes builds the Kubernetes control plane that tests and the demo run against, from published
// Go modules. See "go run ./hack/kubernetes -help".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/keycardai/keycard-operator/hack/kubernetes/assets"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

const about = `Build etcd, kube-apiserver, kube-controller-manager and kubectl from Go modules,
and with -node what a node runs besides.

Usage: go run ./hack/kubernetes [flags]

The binaries go to .cache/kubernetes/<version>; those that are there and of the
pinned version stay. A cold build takes about 7 minutes on 2 cores, 4 GB of memory
and 5 GB of disk (Go's own caches included). The versions are those of
hack/kubernetes/*/go.mod.

When KUBEBUILDER_ASSETS names a folder with the binaries, that is used instead and
nothing is built.

Flags:
`

// errUsage marks errors in flags and arguments.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return
	case errors.Is(err, errUsage):
		os.Exit(exitUsage) // the flag package has said why
	}
	fmt.Fprintln(os.Stderr, "kubernetes:", err)
	os.Exit(exitFailure)
}

// options are the program's flags.
type options struct {
	printDir bool
	node     bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("kubernetes", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprint(stderr, about)
		f.PrintDefaults()
	}
	f.BoolVar(&o.printDir, "print-dir", false, "print the folder of the binaries, and build nothing")
	f.BoolVar(&o.node, "node", false, "build what a node runs too: "+strings.Join(assets.NodeNames, ", "))
	if err := f.Parse(args); err != nil {
		return o, errors.Join(errUsage, err)
	}
	if f.NArg() > 0 {
		fmt.Fprintf(stderr, "unexpected argument %q; see -help\n", f.Arg(0))
		return o, errUsage
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if dir := os.Getenv(assets.Env); dir != "" {
		return useNamed(o, dir, stdout)
	}
	root, err := assets.Root()
	if err != nil {
		return err
	}
	dir, err := assets.Dir(root)
	if err != nil {
		return err
	}
	if o.printDir {
		_, err := fmt.Fprintln(stdout, dir)
		return err
	}
	b := builder{root: root, dir: dir, binaries: selected(o.node), out: stdout}
	return b.build(ctx)
}

// useNamed checks the folder that KUBEBUILDER_ASSETS names.
func useNamed(o options, dir string, stdout io.Writer) error {
	if err := assets.Check(dir); err != nil {
		return err
	}
	if o.node {
		if err := assets.CheckNode(dir); err != nil {
			return err
		}
	}
	if o.printDir {
		_, err := fmt.Fprintln(stdout, dir)
		return err
	}
	_, err := fmt.Fprintf(stdout, "%s names %s: it has the binaries, nothing to build\n", assets.Env, filepath.Clean(dir))
	return err
}
