// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
)

// maxClients bounds how many clients of each kind a Pool keeps. One that was dropped is made anew when it is
// asked for, at the price of its caches.
const maxClients = 256

// Pool hands out clients and keeps them, so that management tokens and zone metadata are fetched once and
// not at every use. All clients share one set of connections. It is safe for concurrent use.
type Pool struct {
	transport  *transport
	management lru[[sha256.Size]byte, *ManagementClient]
	zones      lru[string, *ZoneClient]
	trusting   lru[[sha256.Size]byte, *Pool]
}

// NewPool returns an empty pool.
func NewPool(o Options) *Pool {
	o = o.withDefaults()
	return &Pool{transport: &transport{http: o.httpClient(), options: o}}
}

// Management returns the client for a management API and a service account. The same configuration gives
// the same client, a rotated secret a new one. The error is about the configuration; nothing is sent.
func (p *Pool) Management(cfg ManagementConfig) (*ManagementClient, error) {
	cfg.BaseURL = strings.TrimRight(cfg.BaseURL, "/")
	key := fingerprint(cfg.BaseURL, cfg.ClientID, cfg.ClientSecret.Reveal())
	return p.management.get(key, func() (*ManagementClient, error) { return newManagementClient(p.transport, cfg) })
}

// Zone returns the client for a zone's authorization server, by its issuer. The error is about the issuer;
// nothing is sent.
func (p *Pool) Zone(issuer string) (*ZoneClient, error) {
	issuer = strings.TrimRight(issuer, "/")
	return p.zones.get(issuer, func() (*ZoneClient, error) { return newZoneClient(p.transport, issuer) })
}

// ErrNoCertificates says that a CA bundle holds nothing that can be trusted.
var ErrNoCertificates = errors.New("no certificate in PEM could be read")

// Trusting returns the pool whose clients trust these certificate authorities (PEM) in the place of the system's; the
// same bundle gives the same pool, an empty one p itself. The error is ErrNoCertificates.
func (p *Pool) Trusting(bundle []byte) (*Pool, error) {
	if len(bundle) == 0 {
		return p, nil
	}
	return p.trusting.get(sha256.Sum256(bundle), func() (*Pool, error) {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(bundle) {
			return nil, ErrNoCertificates
		}
		o := p.transport.options
		o.RootCAs = roots
		return NewPool(o), nil
	})
}

// CloseIdleConnections closes the connections that no request is using.
func (p *Pool) CloseIdleConnections() { p.transport.http.CloseIdleConnections() }

// fingerprint hashes the parts with their lengths, so that no two lists of parts collide.
func fingerprint(parts ...string) [sha256.Size]byte {
	h := sha256.New()
	for _, part := range parts {
		_ = binary.Write(h, binary.BigEndian, uint64(len(part)))
		_, _ = h.Write([]byte(part))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// lru keeps the maxClients values that were used last. The zero value is empty.
type lru[K comparable, V any] struct {
	mu      sync.Mutex
	uses    uint64
	entries map[K]*lruEntry[V]
}

type lruEntry[V any] struct {
	value   V
	lastUse uint64
}

func (l *lru[K, V]) get(key K, build func() (V, error)) (V, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.uses++
	if entry, ok := l.entries[key]; ok {
		entry.lastUse = l.uses
		return entry.value, nil
	}
	value, err := build()
	if err != nil {
		return value, err
	}
	if len(l.entries) >= maxClients {
		l.evict()
	}
	if l.entries == nil {
		l.entries = make(map[K]*lruEntry[V])
	}
	l.entries[key] = &lruEntry[V]{value: value, lastUse: l.uses}
	return value, nil
}

func (l *lru[K, V]) evict() {
	var oldest K
	least := l.uses
	for key, entry := range l.entries {
		if entry.lastUse < least {
			oldest, least = key, entry.lastUse
		}
	}
	delete(l.entries, oldest)
}
