// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keycardai/keycard-operator/devzone/disk"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// approval is what a person agreed to.
type approval struct {
	ClientID string
	Email    string
	Scopes   []string
	CloudIDs []string
}

// code is an authorization code waiting to be redeemed.
type code struct {
	approval
	RedirectURI string
	Expires     time.Time
}

// chain is the line of refresh tokens that came of one approval. A refresh
// token is "<chain id>.<secret>", so any token of the past names its chain
// without being remembered. Chains are values: a change is put back whole.
type chain struct {
	approval
	ID           string
	Current      store.Digest
	Rotated      []rotated
	Used         time.Time
	Generation   int
	Dead         bool
	Disconnected bool
}

type rotated struct {
	Token store.Digest
	At    time.Time
}

type accessToken struct {
	ChainID    string
	Generation int
	Expires    time.Time
}

// issued is a new pair of tokens; refresh is empty without offline_access.
type issued struct {
	access, refresh string
	scopes          []string
}

// state is everything that changes while the stand-in runs. All of it but the
// open pages is on disk, if there is one.
type state struct {
	clock      func() time.Time
	lifetime   time.Duration
	leeway     time.Duration
	invalidate bool

	mu      sync.Mutex
	pending map[string]pending
	codes   kept[code]
	chains  kept[chain]
	access  kept[accessToken]
	// sites are the cloud ids that a person gave an app, by clientKey.
	sites kept[[]string]
	// pages are those that were written through the API, by pageKey.
	pages   kept[revision]
	sweepAt time.Time

	db      *disk.DB
	changes []disk.Change
}

// kept is a map that notes its changes for the disk.
type kept[T any] struct {
	bucket string
	rows   map[string]T
	state  *state
}

func (k *kept[T]) put(key string, row T) {
	k.rows[key] = row
	if k.state.db != nil {
		k.state.changes = append(k.state.changes, disk.Change{Bucket: k.bucket, Key: key, Value: row})
	}
}

func (k *kept[T]) drop(key string) {
	if _, ok := k.rows[key]; ok && k.state.db != nil {
		k.state.changes = append(k.state.changes, disk.Change{Bucket: k.bucket, Key: key})
	}
	delete(k.rows, key)
}

func (k *kept[T]) load(s *state, bucket string) error {
	*k = kept[T]{bucket: bucket, rows: map[string]T{}, state: s}
	if s.db == nil {
		return nil
	}
	return s.db.Each(bucket, func(key string, value []byte) error {
		var row T
		if err := json.Unmarshal(value, &row); err != nil {
			return fmt.Errorf("decoding an entry of %s: %w", bucket, err)
		}
		k.rows[key] = row
		return nil
	})
}

// newState returns the state that the disk has, or an empty one.
func newState(c Config) (*state, error) {
	s := &state{
		clock:      c.Clock,
		lifetime:   c.TokenLifetime,
		leeway:     c.RefreshLeeway,
		invalidate: c.InvalidateOnRefresh,
		pending:    map[string]pending{},
		db:         c.Disk,
	}
	for _, err := range []error{
		s.codes.load(s, "atlassian code"),
		s.chains.load(s, "atlassian chain"),
		s.access.load(s, "atlassian access token"),
		s.sites.load(s, "atlassian sites"),
		s.pages.load(s, "atlassian page"),
	} {
		if err != nil {
			return nil, fmt.Errorf("loading the stand-in's state: %w", err)
		}
	}
	return s, nil
}

// do runs f alone and returns when its changes are safe.
func (s *state) do(f func()) error {
	s.mu.Lock()
	f()
	if s.db == nil {
		s.mu.Unlock()
		return nil
	}
	round := s.db.Commit(s.changes)
	s.changes = nil
	s.mu.Unlock()
	return round.Wait()
}

// clientKey hides the person, because keys are not encrypted on disk.
func clientKey(clientID, email string) string { return digestKey(clientID + "\x00" + email) }

func digestKey(secret string) string { return store.DigestKey(store.DigestOf(secret)) }

// await remembers an authorize request until the person has decided.
func (s *state) await(p pending) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	id := rand.Text()
	p.expires = s.clock().Add(pendingLifetime)
	s.pending[id] = p
	return id
}

// decide takes the request out, so that a page decides once; keep puts it back
// when the form was filled in wrongly.
func (s *state) decide(id string) (p pending, ok bool, keep func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok = s.pending[id]
	delete(s.pending, id)
	ok = ok && s.clock().Before(p.expires)
	return p, ok, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pending[id] = p
	}
}

// approve makes a code. Sites add up over the approvals of one person for one
// app, while the scopes of the latest replace the former.
func (s *state) approve(a approval, redirectURI string) (string, error) {
	value := rand.Text()
	err := s.do(func() {
		key := clientKey(a.ClientID, a.Email)
		sites := slices.Clone(s.sites.rows[key])
		for _, id := range a.CloudIDs {
			if !slices.Contains(sites, id) {
				sites = append(sites, id)
			}
		}
		s.sites.put(key, sites)
		a.CloudIDs = sites
		s.codes.put(digestKey(value), code{approval: a, RedirectURI: redirectURI, Expires: s.clock().Add(codeLifetime)})
	})
	return value, err
}

// redeem exchanges a code for the first tokens of a chain. A code works once.
func (s *state) redeem(value, clientID, redirectURI string) (out issued, ok bool, err error) {
	err = s.do(func() {
		key := digestKey(value)
		var c code
		c, ok = s.codes.rows[key]
		s.codes.drop(key)
		ok = ok && c.ClientID == clientID && c.RedirectURI == redirectURI && s.clock().Before(c.Expires)
		if ok {
			out = s.issue(chain{approval: c.approval, ID: rand.Text()})
		}
	})
	return out, ok, err
}

// refresh rotates. A token rotated away longer than the leeway ago is a sign of
// theft and ends the chain.
func (s *state) refresh(token, clientID string) (out issued, ok bool, err error) {
	err = s.do(func() {
		id, _, _ := strings.Cut(token, ".")
		ch, found := s.chains.rows[id]
		if !found || ch.ClientID != clientID || ch.Dead || ch.Disconnected || ch.Current == (store.Digest{}) {
			return
		}
		now, presented := s.clock(), store.DigestOf(token)
		ch.Rotated = slices.DeleteFunc(slices.Clone(ch.Rotated), func(r rotated) bool { return now.Sub(r.At) > s.leeway })
		recent := slices.ContainsFunc(ch.Rotated, func(r rotated) bool { return r.Token == presented })
		if now.Sub(ch.Used) >= inactivity || (presented != ch.Current && !recent) {
			ch.Dead = true
			s.chains.put(id, ch)
			return
		}
		ch.Rotated = append(ch.Rotated, rotated{Token: ch.Current, At: now})
		out, ok = s.issue(ch), true
	})
	return out, ok, err
}

// issue makes the next tokens of a chain. The caller holds the lock.
func (s *state) issue(ch chain) issued {
	s.sweep()
	now := s.clock()
	ch.Generation++
	ch.Used = now
	out := issued{access: rand.Text() + rand.Text(), scopes: ch.Scopes}
	s.access.put(digestKey(out.access), accessToken{ChainID: ch.ID, Generation: ch.Generation, Expires: now.Add(s.lifetime)})
	if slices.Contains(ch.Scopes, offlineAccess) {
		out.refresh = ch.ID + "." + rand.Text() + rand.Text()
		ch.Current = store.DigestOf(out.refresh)
	}
	s.chains.put(ch.ID, ch)
	return out
}

// bearer returns what a valid access token stands for.
func (s *state) bearer(token string) (approval, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.access.rows[digestKey(token)]
	ch := s.chains.rows[t.ChainID]
	if !ok || !s.clock().Before(t.Expires) || ch.Disconnected {
		return approval{}, false
	}
	if s.invalidate && t.Generation != ch.Generation {
		return approval{}, false
	}
	return ch.approval, true
}

func (s *state) disconnect(email, clientID string) error {
	return s.do(func() {
		for id, ch := range s.chains.rows {
			if ch.Email == email && ch.ClientID == clientID {
				ch.Disconnected = true
				s.chains.put(id, ch)
			}
		}
		s.sites.drop(clientKey(clientID, email))
	})
}

// sweep forgets what has expired, at most once in half a token's life. The
// caller holds the lock.
func (s *state) sweep() {
	now := s.clock()
	if now.Before(s.sweepAt) {
		return
	}
	s.sweepAt = now.Add(s.lifetime / 2)
	for k, t := range s.access.rows {
		if !now.Before(t.Expires) {
			s.access.drop(k)
		}
	}
	for k, c := range s.codes.rows {
		if !now.Before(c.Expires) {
			s.codes.drop(k)
		}
	}
	for k, p := range s.pending {
		if !now.Before(p.expires) {
			delete(s.pending, k)
		}
	}
}
