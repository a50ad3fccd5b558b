// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"path/filepath"

	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// binaries is where the demo builds the operator and devzone, from the project's folder.
var binaries = filepath.Join(".cache", "demo")

// build makes what is missing.
func (d *demo) build(ctx context.Context) error {
	d.Say("building what is missing: Kubernetes, the operator, devzone")
	if err := program.Go(ctx, d.Out, "run", "./hack/kubernetes"); err != nil {
		return err
	}
	if err := program.Build(ctx, d.Out, binaries, ".", "./cmd/operator"); err != nil {
		return err
	}
	return program.Build(ctx, d.Out, binaries, "devzone", "./cmd/devzone")
}

// startProgram starts a program that logs to a file of its own. The run ends when it ends by itself.
func (d *demo) startProgram(name string, args ...string) error {
	p, err := program.Start(filepath.Join(binaries, name), d.LogPath(name), args...)
	if err != nil {
		return err
	}
	d.Watch(p)
	return nil
}
