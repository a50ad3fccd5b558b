// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
	"github.com/keycardai/keycard-operator/devzone/wire"
)

// operation is one entry of the table of what the API takes. A query parameter or a field of a
// body that is not in its entry is unknown.
type operation struct {
	// pattern is method and path.
	pattern string
	// params are the query parameters.
	params []string
	// fields are those of the body; the operation takes none when nil.
	fields func(c *call) fields
	// optional is true when the body may be missing.
	optional bool
	// answer returns the body of a 200, or nil for a 204. It runs in a transaction, which changes
	// nothing when the method reads.
	answer func(c *call) (any, error)
}

// taking is an operation with a body that is read into a B.
func taking[B any](pattern string, describe func(c *call, b *B) fields, answer func(c *call, b B) (any, error)) operation {
	return operation{
		pattern: pattern,
		fields:  func(c *call) fields { return describe(c, new(B)) },
		answer: func(c *call) (any, error) {
			var b B
			if err := c.read(describe(c, &b)); err != nil {
				return nil, err
			}
			return answer(c, b)
		},
	}
}

// created answers 201 without a body.
type created struct{}

// later is an answer that is made outside of the transaction.
type later func() (any, error)

// call is a request while it is answered.
type call struct {
	*server
	r      *http.Request
	params params
	body   object
	caller store.ServiceAccount

	tx           *store.Tx
	zone         store.Zone
	organization store.Organization

	// unknown are the parameters and fields that are in no table.
	unknown []string
	// secret was made by the operation and is shown in its answer, once.
	secret string
	// fault is what a view came across.
	fault error
	// signedIn are the last sign-ins of users; see signIns.
	signedIn map[string]time.Time
}

// reads reports whether the request changes nothing.
func (c *call) reads() bool { return c.r.Method == http.MethodGet || c.r.Method == http.MethodHead }

// run answers the request.
func (c *call) run(op operation) (out any, err error) {
	if err := c.open(op); err != nil {
		return nil, err
	}
	transaction := c.Store.Do
	if c.reads() {
		transaction = c.Store.View
	}
	err = transaction(func(tx *store.Tx) (err error) {
		c.tx = tx
		if err := c.locate(); err != nil {
			return err
		}
		if out, err = op.answer(c); err != nil {
			return err
		}
		return c.fault
	})
	if err != nil {
		return nil, err
	}
	if late, ok := out.(later); ok {
		return late()
	}
	return out, nil
}

// open looks at the parameters and reads the body.
func (c *call) open(op operation) error {
	c.params = params(c.r.URL.Query())
	c.body = newObject()
	for _, name := range slices.Sorted(maps.Keys(c.params)) {
		if !slices.Contains(op.params, name) {
			c.unknown = append(c.unknown, "?"+name)
		}
	}
	if c.Strict && len(c.unknown) > 0 {
		return badRequest("%s: not a parameter of this operation, which takes %s",
			strings.Join(c.unknown, ", "), strings.Join(slices.Sorted(slices.Values(op.params)), ", "))
	}
	if op.fields == nil {
		return nil
	}
	if !op.optional {
		if err := checkMediaType(c.r); err != nil {
			return err
		}
	}
	data, err := readBody(c.r)
	if err != nil || op.optional && len(bytes.TrimSpace(data)) == 0 {
		return err
	}
	c.body, err = parseObject(data)
	return err
}

// locate finds the zone or organization that the path names; an organization is named by its id
// or label.
func (c *call) locate() (err error) {
	if id := c.r.PathValue("zone"); id != "" {
		c.zone, err = c.tx.Zones.Get("", id)
		return err
	}
	name := c.r.PathValue("organization")
	if name == "" {
		return nil
	}
	found := c.tx.Organizations.All("", func(o store.Organization) bool { return o.ID == name || o.Slug == name })
	if len(found) == 0 {
		return c.tx.Organizations.Missing(name)
	}
	c.organization = found[0]
	return nil
}

// read reads the body by its fields.
func (c *call) read(f fields) error {
	f.read(c.body)
	names := slices.Sorted(slices.Values(c.body.notes.unknown))
	c.unknown = append(c.unknown, names...)
	if c.Strict {
		for _, name := range names {
			c.body.problem(name, "is not a field of this operation")
		}
	}
	return c.body.err()
}

// add registers an operation behind the check of the bearer token.
func (s *server) add(op operation) {
	s.operations = append(s.operations, op)
	s.mux.HandleFunc(op.pattern, func(w http.ResponseWriter, r *http.Request) {
		account, err := s.authorize(r)
		if err != nil {
			writeError(w, asAPIError(err))
			return
		}
		c := &call{server: s, r: r, caller: account}
		out, err := c.run(op)
		if len(c.unknown) > 0 && !s.Strict {
			s.Logger.WarnContext(r.Context(), "unknown parameters and fields were ignored; --strict refuses them",
				"operation", op.pattern, "names", c.unknown, "user_agent", r.UserAgent())
		}
		if recorded := c.record(op.pattern, out, err); recorded != nil {
			err = recorded
		}
		if err != nil {
			answer := asAPIError(err)
			if answer.Status == http.StatusInternalServerError {
				s.Logger.ErrorContext(r.Context(), "management request", "pattern", op.pattern, "error", err)
			}
			writeError(w, answer)
			return
		}
		write(w, out)
	})
}

func write(w http.ResponseWriter, out any) {
	switch out.(type) {
	case nil:
		w.WriteHeader(http.StatusNoContent)
		return
	case created:
		w.WriteHeader(http.StatusCreated)
		return
	}
	if t, ok := out.(tagged); ok {
		w.Header().Set("ETag", t.tag())
	}
	wire.JSON(w, http.StatusOK, out)
}

// tagged is an answer with an entity tag (RFC 9110, section 8.8.3).
type tagged interface{ tag() string }

// authorize checks the bearer token and, for changes, the role behind it.
func (s *server) authorize(r *http.Request) (store.ServiceAccount, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return store.ServiceAccount{}, failure(http.StatusUnauthorized, "unauthorized",
			"a bearer token from POST /service-account-token is required")
	}
	account, ok := s.bearer(token)
	if !ok {
		return account, failure(http.StatusUnauthorized, "unauthorized", "the bearer token is unknown or has expired")
	}
	read := slices.Contains([]string{http.MethodGet, http.MethodHead}, r.Method)
	if account.Role == store.RoleViewer && !read {
		return account, forbidden("the service account's role %s does not permit changes", store.RoleViewer)
	}
	return account, nil
}
