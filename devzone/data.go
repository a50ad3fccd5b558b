// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone

import (
	"context"
	"fmt"

	"github.com/keycardai/keycard-operator/devzone/disk"
	"github.com/keycardai/keycard-operator/devzone/issuer"
	"github.com/keycardai/keycard-operator/devzone/seed"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// data is what the server works on, and where it is kept.
type data struct {
	store *store.Store
	// disk is nil when everything is in memory.
	disk *disk.DB
	seed *seed.Seed
	// issuer is the one that the folder was filled with; empty for a new one.
	issuer string
	dir    string
}

// openData opens the data folder, or memory without one.
func openData(c Config) (*data, error) {
	d := &data{seed: c.Seed, dir: c.DataDir}
	if c.DataDir == "" {
		d.store = store.New(c.Clock)
		return d, nil
	}
	var err error
	if d.disk, err = disk.Open(c.DataDir, c.DataKey); err != nil {
		return nil, err
	}
	if err := d.load(c); err != nil {
		_ = d.close()
		return nil, fmt.Errorf("opening %s: %w", c.DataDir, err)
	}
	return d, nil
}

func (d *data) load(c Config) error {
	var err error
	if d.store, err = store.Open(c.Clock, d.disk); err != nil {
		return err
	}
	kept, iss, err := seed.Load(d.store)
	if err != nil || kept == nil {
		return err
	}
	c.Logger.Info("continuing with the state of the data folder; the seed was applied when it was new", "folder", c.DataDir)
	d.seed, d.issuer = kept, iss
	return nil
}

// fill applies the seed to new data, and checks that data from before is of the
// same issuer, whose name is in tokens, callbacks and resources.
func (d *data) fill(content *seed.Seed, issuers *issuer.Map) error {
	now := issuers.Of(content.Zone.ID)
	switch d.issuer {
	case "":
		return content.Apply(d.store, issuers.Of)
	case now:
		return nil
	}
	return fmt.Errorf("the data folder %s belongs to the issuer %s, and this one would be %s: "+
		"start with the same address or issuer, or with another folder", d.dir, d.issuer, now)
}

// watch returns when the context ends, or stops the server when the disk fails:
// what is in memory must not be acknowledged any more.
func (d *data) watch(ctx context.Context, stop context.CancelFunc) error {
	if d.disk == nil {
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-d.disk.Failed():
		stop()
		return fmt.Errorf("the data folder can't be written any more: %w", d.disk.Commit(nil).Wait())
	}
}

func (d *data) close() error {
	if d.disk == nil {
		return nil
	}
	return d.disk.Close()
}
