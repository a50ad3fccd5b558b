// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"time"
)

// zone is where devzone listens.
type zone struct{ id, issuer, api, atlassian string }

// startZone starts devzone on ports that the system chooses, and reads them from what it prints.
func (d *demo) startZone(ctx context.Context) error {
	d.say("starting devzone, whose tokens live %s", d.tokenLifetime)
	r, w := io.Pipe()
	const port = "127.0.0.1:0"
	err := d.startProgram("devzone", w, "serve", "--zone-address", port, "--api-address", port, "--atlassian-address", port,
		"--token-lifetime", d.tokenLifetime.String())
	if err != nil {
		return err
	}
	found := make(chan zone, 1)
	go func() {
		var z zone
		for lines := bufio.NewScanner(r); lines.Scan(); {
			if z.read(lines.Text()); z.complete() {
				found <- z
				break
			}
		}
		_, _ = io.Copy(io.Discard, r)
	}()
	select {
	case d.zone = <-found:
		d.say("zone %s at %s", d.zone.id, d.zone.issuer)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(30 * time.Second):
		return errors.New("devzone did not say where it listens")
	}
}

// read takes what one line says: a name, a URL, and key=value pairs.
func (z *zone) read(line string) {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return
	}
	switch fields[0] {
	case "api":
		z.api = fields[1]
	case "atlassian":
		z.atlassian = fields[1]
	case "zone":
		for _, f := range fields[2:] {
			if id, ok := strings.CutPrefix(f, "zone_id="); ok {
				z.id = id
			}
			if issuer, ok := strings.CutPrefix(f, "issuer="); ok {
				z.issuer = issuer
			}
		}
	}
}

func (z *zone) complete() bool {
	return z.id != "" && z.issuer != "" && z.api != "" && z.atlassian != ""
}
