// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package store


// maxMemoryEvents is how many events a store without a folder keeps of all
// zones together; the oldest make room.
const maxMemoryEvents = 100_000

// event is one entry of the log of a zone.
type event struct {
	seq    uint64
	zoneID string
	body   []byte
}

// Append adds an event to the log of a zone. There is no way to change or
// remove one. The log is undone with the rest when the transaction fails.
func (tx *Tx) Append(zoneID string, body []byte) {
	j := tx.journal
	j.seq++
	j.events = append(j.events, event{seq: j.seq, zoneID: zoneID, body: body})
}

// Events visits the events of a zone from the newest to the oldest, starting
// below the sequence number before (0 starts at the newest), until visit
// returns false. It must not be called within Do or View, nor may visit call
// them.
func (s *Store) Events(zoneID string, before uint64, visit func(seq uint64, body []byte) bool) error {
	s.mu.Lock()
	events := s.events
	s.mu.Unlock()
	for i := len(events) - 1; i >= 0; i-- {
		e := events[i]
		if e.zoneID != zoneID || (before != 0 && e.seq >= before) {
			continue
		}
		if !visit(e.seq, e.body) {
			return nil
		}
	}
	return nil
}
