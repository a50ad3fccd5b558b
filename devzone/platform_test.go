// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// signingKey makes a key for the algorithm.
func signingKey(t testing.TB, alg jose.SignatureAlgorithm, kid string) jose.JSONWebKey {
	t.Helper()
	var key crypto.Signer
	var err error
	switch alg {
	case jose.ES256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.ES384:
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case jose.ES512:
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case jose.EdDSA:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: string(alg), Use: "sig"}
}

// signed makes a JWT.
func signed(t testing.TB, key jose.JSONWebKey, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// with returns a copy of the claims with changes; nil removes one.
func with(claims map[string]any, changes ...any) map[string]any {
	out := maps.Clone(claims)
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == nil {
			delete(out, changes[i].(string))
			continue
		}
		out[changes[i].(string)] = changes[i+1]
	}
	return out
}

// platform is an OIDC issuer, such as a cluster, with a key that it signs with.
type platform struct {
	*httptest.Server
	key     jose.JSONWebKey
	fetches atomic.Int64
	mu      sync.Mutex
	// keys and configuration are what it publishes; status and body replace the
	// answer when they are set.
	keys          []any
	configuration map[string]any
	status        int
	body          string
	location      string
}

func newPlatform(t testing.TB) *platform {
	p := &platform{key: signingKey(t, jose.ES256, "k1")}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	p.keys = []any{p.key.Public()}
	p.configuration = map[string]any{"issuer": p.URL, "jwks_uri": p.URL + "/jwks"}
	return p
}

func (p *platform) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(p.configuration)
	case "/jwks":
		p.fetches.Add(1)
		if p.location != "" {
			w.Header().Set("Location", p.location)
		}
		if p.status != 0 {
			w.WriteHeader(p.status)
			_, _ = w.Write([]byte(p.body))
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": p.keys})
	case "/moved":
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": p.keys})
	default:
		http.NotFound(w, r)
	}
}

// answer changes what the platform publishes.
func (p *platform) answer(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}
