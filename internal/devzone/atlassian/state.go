// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian

import (
	"crypto/rand"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"time"
)

// digest stands for a token in memory. Tokens are random, so a plain hash does.
type digest [sha256.Size]byte

func digestOf(s string) digest { return sha256.Sum256([]byte(s)) }

// approval is what a person agreed to.
type approval struct {
	clientID string
	email    string
	scopes   []string
	cloudIDs []string
}

// code is an authorization code waiting to be redeemed.
type code struct {
	approval
	redirectURI string
	expires     time.Time
}

// chain is the line of refresh tokens that came of one approval. A refresh
// token is "<chain id>.<secret>", so any token of the past names its chain
// without being remembered.
type chain struct {
	approval
	id           string
	current      digest
	rotated      []rotated
	used         time.Time
	generation   int
	dead         bool
	disconnected bool
}

type rotated struct {
	token digest
	at    time.Time
}

type accessToken struct {
	chain      *chain
	generation int
	expires    time.Time
}

// issued is a new pair of tokens; refresh is empty without offline_access.
type issued struct {
	access, refresh string
	scopes          []string
}

// state is everything that changes while the stand-in runs.
type state struct {
	clock      func() time.Time
	lifetime   time.Duration
	leeway     time.Duration
	invalidate bool

	mu      sync.Mutex
	pending map[string]pending
	codes   map[string]code
	chains  map[string]*chain
	access  map[digest]accessToken
	sites   map[[2]string][]string
	sweepAt time.Time
}

func newState(c Config) *state {
	return &state{
		clock:      c.Clock,
		lifetime:   c.TokenLifetime,
		leeway:     c.RefreshLeeway,
		invalidate: c.InvalidateOnRefresh,
		pending:    map[string]pending{},
		codes:      map[string]code{},
		chains:     map[string]*chain{},
		access:     map[digest]accessToken{},
		sites:      map[[2]string][]string{},
	}
}

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
func (s *state) approve(a approval, redirectURI string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := [2]string{a.clientID, a.email}
	for _, id := range a.cloudIDs {
		if !slices.Contains(s.sites[key], id) {
			s.sites[key] = append(s.sites[key], id)
		}
	}
	a.cloudIDs = slices.Clone(s.sites[key])
	value := rand.Text()
	s.codes[value] = code{approval: a, redirectURI: redirectURI, expires: s.clock().Add(codeLifetime)}
	return value
}

// redeem exchanges a code for the first tokens of a chain. A code works once.
func (s *state) redeem(value, clientID, redirectURI string) (issued, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.codes[value]
	delete(s.codes, value)
	if !ok || c.clientID != clientID || c.redirectURI != redirectURI || !s.clock().Before(c.expires) {
		return issued{}, false
	}
	ch := &chain{approval: c.approval, id: rand.Text()}
	s.chains[ch.id] = ch
	return s.issue(ch), true
}

// refresh rotates. A token rotated away longer than the leeway ago is a sign of
// theft and ends the chain.
func (s *state) refresh(token, clientID string) (issued, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, _, _ := strings.Cut(token, ".")
	ch, ok := s.chains[id]
	if !ok || ch.clientID != clientID || ch.dead || ch.disconnected {
		return issued{}, false
	}
	now, presented := s.clock(), digestOf(token)
	if now.Sub(ch.used) >= inactivity {
		ch.dead = true
		return issued{}, false
	}
	ch.rotated = slices.DeleteFunc(ch.rotated, func(r rotated) bool { return now.Sub(r.at) > s.leeway })
	recent := slices.ContainsFunc(ch.rotated, func(r rotated) bool { return r.token == presented })
	if presented != ch.current && !recent {
		ch.dead = true
		return issued{}, false
	}
	if ch.current == (digest{}) {
		return issued{}, false
	}
	ch.rotated = append(ch.rotated, rotated{token: ch.current, at: now})
	return s.issue(ch), true
}

// issue makes the next tokens of a chain. The caller holds the lock.
func (s *state) issue(ch *chain) issued {
	s.sweep()
	now := s.clock()
	ch.generation++
	ch.used = now
	out := issued{access: rand.Text() + rand.Text(), scopes: ch.scopes}
	s.access[digestOf(out.access)] = accessToken{chain: ch, generation: ch.generation, expires: now.Add(s.lifetime)}
	if slices.Contains(ch.scopes, offlineAccess) {
		out.refresh = ch.id + "." + rand.Text() + rand.Text()
		ch.current = digestOf(out.refresh)
	}
	return out
}

// bearer returns what a valid access token stands for.
func (s *state) bearer(token string) (approval, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.access[digestOf(token)]
	if !ok || !s.clock().Before(t.expires) || t.chain.disconnected {
		return approval{}, false
	}
	if s.invalidate && t.generation != t.chain.generation {
		return approval{}, false
	}
	return t.chain.approval, true
}

func (s *state) disconnect(email, clientID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ch := range s.chains {
		if ch.email == email && ch.clientID == clientID {
			ch.disconnected = true
		}
	}
	delete(s.sites, [2]string{clientID, email})
}

// sweep forgets what has expired, at most once in half a token's life. The
// caller holds the lock.
func (s *state) sweep() {
	now := s.clock()
	if now.Before(s.sweepAt) {
		return
	}
	s.sweepAt = now.Add(s.lifetime / 2)
	for k, t := range s.access {
		if !now.Before(t.expires) {
			delete(s.access, k)
		}
	}
	for k, c := range s.codes {
		if !now.Before(c.expires) {
			delete(s.codes, k)
		}
	}
	for k, p := range s.pending {
		if !now.Before(p.expires) {
			delete(s.pending, k)
		}
	}
}
