// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// keyBits is the size of a zone's signing key.
const keyBits = 2048

// keyring holds one signing key for each zone, made when first needed.
type keyring struct {
	mu   sync.Mutex
	keys map[string]jose.JSONWebKey
}

// claims are the ones of a zone's access token.
type claims struct {
	jwt.Claims
	ClientID      string `json:"client_id"`
	Scope         string `json:"scope,omitempty"`
	SubProfile    string `json:"sub_profile,omitempty"`
	ApplicationID string `json:"keycard_app_id,omitempty"`
	Actor         *actor `json:"act,omitempty"`
}

type actor struct {
	Subject string `json:"sub"`
}

// Values of sub_profile.
const (
	profileUser = "user"
	profileApp  = "app"
)

func (k *keyring) key(zoneID string) jose.JSONWebKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key, ok := k.keys[zoneID]; ok {
		return key
	}
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		panic(fmt.Sprintf("generating a signing key: %v", err))
	}
	key := jose.JSONWebKey{Key: private, Algorithm: string(jose.RS256), Use: "sig"}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		panic(fmt.Sprintf("naming a signing key: %v", err))
	}
	key.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	if k.keys == nil {
		k.keys = map[string]jose.JSONWebKey{}
	}
	k.keys[zoneID] = key
	return key
}

func (k *keyring) public(zoneID string) jose.JSONWebKeySet {
	key := k.key(zoneID)
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}}
}

func (k *keyring) sign(zoneID string, c claims) (string, error) {
	options := (&jose.SignerOptions{}).WithType("at+jwt")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: k.key(zoneID)}, options)
	if err != nil {
		return "", fmt.Errorf("making a signer: %w", err)
	}
	token, err := jwt.Signed(signer).Claims(c).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return token, nil
}

// verify returns the claims of a token that the zone has signed and that has
// not expired. A token that is no JWT at all gives errMalformed.
func (k *keyring) verify(zoneID, issuer, token string, now time.Time) (claims, error) {
	var c claims
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return c, errMalformed
	}
	key := k.key(zoneID)
	if err := parsed.Claims(key.Public(), &c); err != nil {
		return c, fmt.Errorf("the signature is not the zone's")
	}
	err = c.ValidateWithLeeway(jwt.Expected{Issuer: issuer, Time: now}, 0)
	// RFC 7519, section 4.1.4: not on the second of exp either.
	if err != nil || !now.Before(c.Expiry.Time()) {
		return c, fmt.Errorf("it has expired or is of another issuer")
	}
	return c, nil
}
