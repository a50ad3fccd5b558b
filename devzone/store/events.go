// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/keycardai/keycard-operator/devzone/disk"
)

// maxMemoryEvents is how many events a store without a folder keeps of all
// zones together; the oldest make room.
const maxMemoryEvents = 100_000

const eventBucket = "event"

// event is one entry of the log of a zone.
type event struct {
	seq    uint64
	zoneID string
	body   []byte
}

// eventKey sorts like the sequence number.
func eventKey(zoneID string, seq uint64) string { return fmt.Sprintf("%s\x00%016x", zoneID, seq) }

func (e event) change() disk.Change {
	return disk.Change{Bucket: eventBucket, Key: eventKey(e.zoneID, e.seq), Value: json.RawMessage(e.body)}
}

// Append adds an event, which is JSON, to the log of a zone. There is no way to
// change or remove one. The log is undone with the rest when the transaction
// fails.
func (tx *Tx) Append(zoneID string, body []byte) {
	j := tx.journal
	j.seq++
	j.events = append(j.events, event{seq: j.seq, zoneID: zoneID, body: body})
}

// remember keeps events in memory. The caller holds the lock. Readers may hold
// the slice as it was: it only grows at the end and is cut at the front.
func (s *Store) remember(events []event) {
	s.events = append(s.events, events...)
	if extra := len(s.events) - maxMemoryEvents; extra > 0 {
		s.events = s.events[extra:]
	}
}

// Events visits the events of a zone from the newest to the oldest, starting
// below the sequence number before (0 starts at the newest), until visit
// returns false. It must not be called within Do or View, nor may visit call
// them.
func (s *Store) Events(zoneID string, before uint64, visit func(seq uint64, body []byte) bool) error {
	if before == 0 {
		before = 1<<64 - 1
	}
	if s.db != nil {
		prefix := zoneID + "\x00"
		return s.db.Backwards(eventBucket, prefix, eventKey(zoneID, before), func(key string, body []byte) bool {
			seq, err := strconv.ParseUint(strings.TrimPrefix(key, prefix), 16, 64)
			return err == nil && visit(seq, body)
		})
	}
	s.mu.RLock()
	events := s.events
	s.mu.RUnlock()
	for _, e := range slices.Backward(events) {
		if e.zoneID == zoneID && e.seq < before && !visit(e.seq, e.body) {
			return nil
		}
	}
	return nil
}
