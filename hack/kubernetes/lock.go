// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// lock holds a file's lock until unlock is called or the process ends, however it ends. It waits for
// another holder and says so.
func lock(ctx context.Context, path string, out io.Writer) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) // #nosec G304 -- in the project's cache
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	held := func() error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
	if err := held(); errors.Is(err, syscall.EWOULDBLOCK) {
		err = withHeartbeat(out, "waiting for another run that holds "+path, func() error { return retry(ctx, held) })
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
	} else if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// retry calls f until it no longer says that it would block.
func retry(ctx context.Context, f func() error) error {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the lock: %w", ctx.Err())
		case <-ticker.C:
			if err := f(); !errors.Is(err, syscall.EWOULDBLOCK) {
				return err
			}
		}
	}
}
