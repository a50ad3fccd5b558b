// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/devzone/audit"
)

// changes are named by method.
var changes = map[string]string{
	http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "update", http.MethodDelete: "delete",
}

// record keeps a change, or the refusal of one. Reading leaves no trace.
func (c *call) record(pattern string, out any, err error) error {
	r := c.r
	verb, isChange := changes[r.Method]
	if !isChange {
		return nil
	}
	e := audit.Event{
		ZoneID: r.PathValue("zone"),
		Actor:  audit.Actor{ServiceAccount: c.caller.ClientID},
		Target: changed(r, pattern, out),
	}
	if e.ZoneID == "" && e.Target.Collection == "zones" {
		// The zone itself is what is changed.
		e.ZoneID = e.Target.ID
	}
	if e.ZoneID == "" {
		// What belongs to the organization is in the log of the zone that is always
		// there.
		e.ZoneID = c.Issuers.DefaultZone()
	}
	e.Type = e.Target.Collection + ":" + verb
	if err != nil {
		answer := asAPIError(err)
		e.Error, e.Description = answer.Code, answer.Message
	}
	return c.Audit.Record(r.Context(), e)
}

// changed names the object: the last collection of the path, and the id in the
// path or the answer.
func changed(r *http.Request, pattern string, out any) audit.Target {
	_, path, _ := strings.Cut(pattern, " ")
	segments := strings.Split(strings.Trim(path, "/"), "/")
	var t audit.Target
	for i, segment := range segments {
		if !strings.HasPrefix(segment, "{") {
			t.Collection, t.ID = segment, ""
			continue
		}
		if i == len(segments)-1 {
			t.ID = r.PathValue(strings.Trim(segment, "{}"))
		}
	}
	var answer struct {
		ID         string `json:"id"`
		Identifier string `json:"identifier"`
	}
	if raw, err := json.Marshal(out); err == nil {
		_ = json.Unmarshal(raw, &answer)
	}
	if answer.ID != "" {
		t.ID = answer.ID
	}
	t.Identifier = answer.Identifier
	return t
}

// auditParams are the filters of the log.
var auditParams = map[string]func(f *audit.Filter) *string{
	"type":           func(f *audit.Filter) *string { return &f.Type },
	"outcome":        func(f *audit.Filter) *string { return &f.Outcome },
	"application":    func(f *audit.Filter) *string { return &f.Application },
	"user":           func(f *audit.Filter) *string { return &f.User },
	"resource":       func(f *audit.Filter) *string { return &f.Resource },
	"correlation_id": func(f *audit.Filter) *string { return &f.CorrelationID },
	"request_id":     func(f *audit.Filter) *string { return &f.RequestID },
	"user_agent":     func(f *audit.Filter) *string { return &f.UserAgent },
}

// auditRoutes registers the log, which is this server's own: the hosted service documents no way to
// read its log.
func (s *server) auditRoutes(path string) {
	s.add(operation{
		pattern: "GET " + path, params: slices.Concat(modern.params(), []string{"since", "until"}, slices.Collect(maps.Keys(auditParams))),
		answer: auditEvents,
	})
}

func auditEvents(c *call) (any, error) {
	page, err := parsePage(c.params, modern)
	if err != nil {
		return nil, err
	}
	f := audit.Filter{Before: page.after, Limit: page.limit}
	for name, dst := range auditParams {
		*dst(&f) = c.params.one(name)
	}
	if err := checkAuditQuery(c.params, &f); err != nil {
		return nil, err
	}
	return later(func() (any, error) {
		found, err := c.Audit.Query(c.zone.ID, f)
		if err != nil {
			return nil, err
		}
		out := listed{Items: make([]any, 0, len(found.Events))}
		for _, e := range found.Events {
			out.Items = append(out.Items, e)
		}
		if found.Next > 0 {
			out.Pagination.AfterCursor = cursor(found.Next)
		}
		return out, nil
	}), nil
}

func checkAuditQuery(q params, f *audit.Filter) error {
	if q.has("before") {
		return badRequest("before: the log is read from the newest to the oldest, with after")
	}
	if text := isOneOf("", audit.Success, audit.Failure)(f.Outcome); text != "" {
		return badRequest("outcome: must be one of %s, %s", audit.Success, audit.Failure)
	}
	for name, dst := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		if !q.has(name) {
			continue
		}
		at, err := time.Parse(time.RFC3339, q.one(name))
		if err != nil {
			return badRequest("%s: must be a time such as 2026-01-31T12:00:00Z (RFC 3339)", name)
		}
		*dst = at
	}
	return nil
}
