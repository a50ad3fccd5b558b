// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycardai/keycard-operator/hack/kubernetes/assets"
)

func TestSelected(t *testing.T) {
	names := func(list []binary) (names []string) {
		for _, b := range list {
			names = append(names, b.name)
		}
		return names
	}
	if got := names(selected(false)); !slices.Equal(got, assets.Names) {
		t.Errorf("builds %v, tests need %v", got, assets.Names)
	}
	if got, want := names(selected(true)), slices.Concat(assets.Names, assets.NodeNames); !slices.Equal(got, want) {
		t.Errorf("builds %v for a node, which needs %v", got, want)
	}
}

func TestParse(t *testing.T) {
	for name, test := range map[string]struct {
		args   []string
		want   error
		stderr string
	}{
		"none":             {},
		"a node":           {args: []string{"-node"}},
		"help":             {args: []string{"-help"}, want: flag.ErrHelp, stderr: "about 7 minutes on 2 cores"},
		"unknown flag":     {args: []string{"-x"}, want: errUsage, stderr: "-x"},
		"another argument": {args: []string{"etcd"}, want: errUsage, stderr: `unexpected argument "etcd"`},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			if _, err := parse(test.args, &stderr); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("printed %q, want something with %q", stderr.String(), test.stderr)
			}
		})
	}
}

func TestBuildArgsStampVersion(t *testing.T) {
	const stamp = "gitVersion=v1.2.3"
	for _, b := range known {
		args := strings.Join(b.buildArgs("/project", "v1.2.3", "/out"), " ")
		if got, want := strings.Contains(args, stamp), b.module == "k8s.io/kubernetes"; got != want {
			t.Errorf("%s: go %s", b.name, args)
		}
		if !strings.Contains(args, "-C /project/hack/kubernetes/") || !strings.HasSuffix(args, "-o /out "+b.pkg) {
			t.Errorf("%s: go %s", b.name, args)
		}
	}
}

func TestCurrent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "etcd")
	if err := os.WriteFile(text, []byte("half a binary"), 0o600); err != nil {
		t.Fatal(err)
	}
	const module, version = "github.com/keycardai/keycard-operator", "(devel)"
	for name, test := range map[string]struct {
		path, module, version string
		want                  bool
	}{
		"the pinned version": {self, module, version, true},
		"another version":    {self, module, "v1.2.3", false},
		"another program":    {self, "example.com/m", version, false},
		"no binary":          {text, module, version, false},
		"absent":             {text + "x", module, version, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (binary{module: test.module}).current(test.path, test.version); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		err := withHeartbeat(&out, "[1/1] etcd v3", func() error {
			<-time.After(50 * time.Second)
			return nil
		})
		const want = "[1/1] etcd v3 ...\n[1/1] etcd v3 ... 20s\n[1/1] etcd v3 ... 40s\n[1/1] etcd v3 ... done in 50s\n"
		if err != nil || out.String() != want {
			t.Errorf("got %v:\n%s", err, out.String())
		}
	})
}

func TestTail(t *testing.T) {
	for name, test := range map[string]struct {
		log  string
		want string
	}{
		"empty":        {"", ""},
		"shorter":      {"a\n", "a"},
		"exactly":      {"a\nb\n", "a\nb"},
		"longer":       {"a\nb\nc\n", "b\nc"},
		"no last line": {"a\nb\nc", "b\nc"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(tail([]byte(test.log), 2)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestLockWaitsForHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if _, err := lock(ctx, path, &out); !errors.Is(err, context.Canceled) {
		t.Errorf("two hold the lock: %v", err)
	}
	if !strings.Contains(out.String(), "waiting for another run that holds "+path) {
		t.Errorf("waits silently: %q", out.String())
	}
	unlock()
	if unlock, err = lock(ctx, path, &out); err != nil {
		t.Fatalf("a free lock can't be taken: %v", err)
	}
	unlock()
}

// fakeGo puts a script in the place of the go command. It has the output's path in $out.
func fakeGo(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	const head = "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done\nout=$2\n"
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(head+script), 0o700); err != nil { // #nosec G306 -- it is a program
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// newBuilder builds into an empty folder, with this project's pins.
func newBuilder(t *testing.T, out io.Writer) builder {
	t.Helper()
	root, err := assets.Root()
	if err != nil {
		t.Fatal(err)
	}
	return builder{root: root, dir: t.TempDir(), binaries: known[:1], out: out}
}

func TestBuildPutsBinaryInPlace(t *testing.T) {
	fakeGo(t, "echo built >$out\n")
	var out bytes.Buffer
	b := newBuilder(t, &out)
	if err := os.Mkdir(filepath.Join(b.dir, ".building-killed"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := b.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(b.dir, "etcd")); err != nil || string(got) != "built\n" { // #nosec G304 -- a folder of this test
		t.Errorf("got %q, %v", got, err)
	}
	onlyHas(t, b.dir, ".lock", "etcd")
	for _, want := range []string{"1 of 1 binaries", "about 7 minutes", "[1/1] etcd v3.", "done in 0s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("printed no %q:\n%s", want, out.String())
		}
	}
}

func TestFailedBuildLeavesNothing(t *testing.T) {
	fakeGo(t, "echo half >$out\necho compiler says no >&2\nexit 1\n")
	b := newBuilder(t, io.Discard)
	err := b.build(t.Context())
	if err == nil || !strings.Contains(err.Error(), "building etcd: exit status 1\ncompiler says no") {
		t.Errorf("got %v", err)
	}
	onlyHas(t, b.dir, ".lock")
}

func TestInterruptedBuildLeavesNothing(t *testing.T) {
	fakeGo(t, "echo half >$out\nexec tail -f /dev/null\n")
	b := newBuilder(t, io.Discard)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	go func() {
		defer interrupt()
		under := func() error { // way, once the compiler has written something
			half, err := filepath.Glob(filepath.Join(b.dir, tempPattern, "etcd"))
			if err != nil || len(half) > 0 {
				return err
			}
			return syscall.EWOULDBLOCK
		}
		if err := retry(ctx, under); err != nil {
			t.Errorf("waiting for the build: %v", err)
		}
	}()
	if err := b.build(ctx); err == nil || !strings.Contains(err.Error(), "building etcd: interrupted") {
		t.Errorf("got %v", err)
	}
	onlyHas(t, b.dir, ".lock")
}

func TestNamedFolderIsUsed(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(assets.Env, dir)
	for _, name := range assets.Names {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o700); err != nil { // #nosec G306 -- stands for a program
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-print-dir"}, &out, io.Discard); err != nil || out.String() != dir+"\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	err := run(t.Context(), []string{"-node"}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), strings.Join(assets.NodeNames, ", ")+" is not in") {
		t.Errorf("got %v", err)
	}
}

func onlyHas(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("the folder has %v, want %v", got, want)
	}
}
