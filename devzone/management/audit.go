// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/devzone/audit"
)

// verbs name the changes by method.
var verbs = map[string]string{
	http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "update", http.MethodDelete: "delete",
}

// record keeps a change, or the refusal of one. Reading leaves no trace.
func (s *server) record(r *http.Request, pattern string, out any, err error) error {
	verb, changes := verbs[r.Method]
	if !changes {
		return nil
	}
	e := audit.Event{
		ZoneID: r.PathValue("zone"),
		Actor:  audit.Actor{ServiceAccount: caller(r).ClientID},
		Target: changed(r, pattern, out),
	}
	if e.ZoneID == "" && e.Target.Collection == "zones" {
		// The zone itself is what is changed.
		e.ZoneID = e.Target.ID
	}
	if e.ZoneID == "" {
		// What belongs to the organization is in the log of the zone that is always
		// there.
		e.ZoneID = s.Issuers.DefaultZone()
	}
	e.Type = e.Target.Collection + ":" + verb
	if err != nil {
		answer := asAPIError(err)
		e.Error, e.Description = answer.Code, answer.Message
	}
	return s.Audit.Record(r.Context(), e)
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
	if t.Collection == "zones" && t.ID == "" {
		t.ID = r.PathValue("id")
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

// auditEvents answers GET /zones/{zone}/audit-events, which is this server's own:
// the hosted service documents no way to read its log.
func (s *server) auditEvents(r *http.Request) (any, error) {
	q := r.URL.Query()
	page, err := parsePage(q, false)
	if err != nil {
		return nil, err
	}
	f := audit.Filter{
		Type: q.Get("type"), Outcome: q.Get("outcome"), Application: q.Get("application"), User: q.Get("user"),
		Resource: q.Get("resource"), CorrelationID: q.Get("correlation_id"), RequestID: q.Get("request_id"),
		UserAgent: q.Get("user_agent"), Before: page.after, Limit: page.limit,
	}
	if err := checkAuditQuery(q, &f); err != nil {
		return nil, err
	}
	found, err := s.Audit.Query(r.PathValue("zone"), f)
	if err != nil {
		return nil, err
	}
	out := list{Items: make([]any, 0, len(found.Events))}
	for _, e := range found.Events {
		out.Items = append(out.Items, e)
	}
	if found.Next > 0 {
		out.Pagination.AfterCursor = cursor(found.Next)
	}
	return out, nil
}

func checkAuditQuery(q url.Values, f *audit.Filter) error {
	if q.Has("before") {
		return badRequest("before: the log is read from the newest to the oldest, with after")
	}
	if text := isOneOf("", audit.Success, audit.Failure)(f.Outcome); text != "" {
		return badRequest("outcome: must be one of %s, %s", audit.Success, audit.Failure)
	}
	for name, dst := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		if !q.Has(name) {
			continue
		}
		at, err := time.Parse(time.RFC3339, q.Get(name))
		if err != nil {
			return badRequest("%s: must be a time such as 2026-01-31T12:00:00Z (RFC 3339)", name)
		}
		*dst = at
	}
	return nil
}
