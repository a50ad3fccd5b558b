// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"

	"github.com/cedar-policy/cedar-go"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// facts are the entities of a question.
type facts struct {
	entities                       cedar.EntityMap
	application, subject, resource cedar.EntityUID
}

func newFacts(q Request) facts {
	f := facts{
		entities:    cedar.EntityMap{},
		application: cedar.NewEntityUID(applicationType, cedar.String(q.Application.ID)),
		resource:    cedar.NewEntityUID(resourceType, cedar.String(q.Resource.ID)),
	}
	f.add(f.application, cedar.RecordMap{
		"identifier":          cedar.String(q.Application.Identifier),
		"registration_method": cedar.String(q.Registration),
		"credential_type":     cedar.String(q.CredentialType),
		"dependencies":        stringSet(q.Dependencies),
		"traits":              stringSet(nil),
	})
	f.add(f.resource, cedar.RecordMap{
		"identifier": cedar.String(q.Resource.Identifier),
		"name":       cedar.String(q.Resource.Name),
		"scopes":     stringSet(q.Resource.Scopes),
	})
	if q.Subject != nil {
		f.subject = cedar.NewEntityUID(userType, cedar.String(q.Subject.ID))
		f.add(f.subject, userAttributes(*q.Subject))
	}
	return f
}

func userAttributes(u store.User) cedar.RecordMap {
	return cedar.RecordMap{
		"identifier": cedar.String(u.Identifier),
		"email":      cedar.String(u.Email),
		"groups":     stringSet(u.Groups),
	}
}

func (f facts) add(uid cedar.EntityUID, attributes cedar.RecordMap) {
	f.entities[uid] = cedar.Entity{UID: uid, Attributes: cedar.NewRecord(attributes)}
}

// context is the context of a request. subject is there only on behalf of a
// user.
func (f facts) context(q Request, scopes []string) cedar.Record {
	c := cedar.RecordMap{
		"on_behalf":      cedar.Boolean(q.Subject != nil),
		"impersonate":    cedar.Boolean(q.Impersonate),
		"resource":       f.resource,
		"scopes":         stringSet(scopes),
		"actor_claims":   record(q.ActorClaims),
		"subject_claims": record(q.SubjectClaims),
	}
	if q.Subject != nil {
		c["subject"] = f.subject
	}
	return cedar.NewRecord(c)
}

func stringSet(values []string) cedar.Set {
	out := make([]cedar.Value, len(values))
	for i, v := range values {
		out[i] = cedar.String(v)
	}
	return cedar.NewSet(out...)
}

// record turns the members of a JSON object into a Cedar record.
func record(values map[string]any) cedar.Record {
	out := cedar.RecordMap{}
	for k, v := range values {
		if value := valueOf(v); value != nil {
			out[cedar.String(k)] = value
		}
	}
	return cedar.NewRecord(out)
}

// valueOf is nil for what Cedar does not have: null and fractions.
func valueOf(v any) cedar.Value {
	switch v := v.(type) {
	case string:
		return cedar.String(v)
	case bool:
		return cedar.Boolean(v)
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return cedar.Long(n)
		}
	case []any:
		var out []cedar.Value
		for _, member := range v {
			if value := valueOf(member); value != nil {
				out = append(out, value)
			}
		}
		return cedar.NewSet(out...)
	case map[string]any:
		return record(v)
	}
	return nil
}
