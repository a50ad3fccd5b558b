// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// Log is the audit log of all zones. It is safe for concurrent use.
type Log struct {
	store  *store.Store
	clock  func() time.Time
	logger *slog.Logger
}

// New returns the log that is kept in the store.
func New(st *store.Store, clock func() time.Time, logger *slog.Logger) *Log {
	return &Log{store: st, clock: clock, logger: logger}
}

// Record adds an event, with an id, the time and what is known of the request.
// It is on the disk, if there is one, when Record returns nil.
func (l *Log) Record(ctx context.Context, e Event) error {
	request := RequestOf(ctx)
	e.ID, e.Time = store.NewID(), l.clock().UTC()
	e.CorrelationID, e.UserAgent = request.CorrelationID, request.UserAgent
	if e.RequestID == "" {
		e.RequestID = request.ID
	}
	e.Outcome = Success
	level := slog.LevelInfo
	if e.Error != "" {
		e.Outcome, level = Failure, slog.LevelWarn
	}
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding an audit event: %w", err)
	}
	l.logger.Log(ctx, level, "audit", "type", e.Type, "outcome", e.Outcome, "error", e.Error, "description", e.Description,
		"zone", e.ZoneID, "application", e.Actor.Application, "user", e.Actor.User, "service_account", e.Actor.ServiceAccount,
		"resource", e.Target.Resource, "id", e.Target.ID, "request_id", e.RequestID, "correlation_id", e.CorrelationID)
	err = l.store.Do(func(tx *store.Tx) error {
		tx.Append(e.ZoneID, body)
		return nil
	})
	if err != nil {
		return fmt.Errorf("recording an audit event: %w", err)
	}
	return nil
}

// Filter chooses events. Empty fields choose all.
type Filter struct {
	Type, Outcome, Application, User, Resource, CorrelationID, RequestID string
	// UserAgent is a part of the client's User-Agent.
	UserAgent string
	// Since is the earliest time, and Until is past the latest.
	Since, Until time.Time
	// Before is the place in the log below which to look; 0 is the newest.
	Before uint64
	// Limit is how many to return.
	Limit int
}

// Page is a part of the log, newest first.
type Page struct {
	Events []Event
	// Next is the place to go on at, 0 at the end.
	Next uint64
}

// Query reads the log of a zone.
func (l *Log) Query(zoneID string, f Filter) (Page, error) {
	var page Page
	var last uint64
	var broken error
	err := l.store.Events(zoneID, f.Before, func(seq uint64, body []byte) bool {
		var e Event
		if broken = json.Unmarshal(body, &e); broken != nil {
			return false
		}
		if !f.Since.IsZero() && e.Time.Before(f.Since) {
			return false
		}
		if !f.chooses(e) {
			return true
		}
		if len(page.Events) == f.Limit {
			page.Next = last
			return false
		}
		page.Events, last = append(page.Events, e), seq
		return true
	})
	if err == nil {
		err = broken
	}
	if err != nil {
		return Page{}, fmt.Errorf("reading the audit log: %w", err)
	}
	return page, nil
}

// chooses tests all but the place and the earliest time.
func (f Filter) chooses(e Event) bool {
	if !f.Until.IsZero() && !e.Time.Before(f.Until) {
		return false
	}
	for _, pair := range [][2]string{
		{f.Type, e.Type},
		{f.Outcome, e.Outcome},
		{f.Application, e.Actor.Application},
		{f.User, e.Actor.User},
		{f.Resource, e.Target.Resource},
		{f.CorrelationID, e.CorrelationID},
		{f.RequestID, e.RequestID},
	} {
		if pair[0] != "" && pair[0] != pair[1] {
			return false
		}
	}
	return strings.Contains(e.UserAgent, f.UserAgent)
}
