// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// keyBits is the size of a zone's signing key.
const keyBits = 2048

// keyring holds one signing key for each zone, made when first needed and kept
// in the store.
type keyring struct {
	store *store.Store
	mu    sync.Mutex
	keys  map[string]jose.JSONWebKey
}

// claims are the ones of a zone's access token.
type claims struct {
	jwt.Claims
	ClientID      string `json:"client_id"`
	Scope         string `json:"scope,omitempty"`
	SubProfile    string `json:"sub_profile,omitempty"`
	ApplicationID string `json:"keycard_app_id,omitempty"`
	SessionID     string `json:"sid,omitempty"`
	// Target lists the resources that the token can be exchanged for.
	Target []string `json:"target,omitempty"`
	Actor  *actor   `json:"act,omitempty"`
}

type actor struct {
	Subject string `json:"sub"`
}

// members are the claims as JSON has them.
func (c claims) members() map[string]any {
	raw, err := json.Marshal(c)
	if err != nil {
		panic("encoding claims that were decoded")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var out map[string]any
	if err := d.Decode(&out); err != nil {
		panic("decoding what was encoded")
	}
	return out
}

// Values of sub_profile.
const (
	profileUser = "user"
	profileApp  = "app"
)

// key returns the signing key of a zone.
func (k *keyring) key(zoneID string) (jose.JSONWebKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key, ok := k.keys[zoneID]; ok {
		return key, nil
	}
	key, err := k.load(zoneID)
	if err != nil {
		return key, fmt.Errorf("getting the zone's signing key: %w", err)
	}
	if k.keys == nil {
		k.keys = map[string]jose.JSONWebKey{}
	}
	k.keys[zoneID] = key
	return key, nil
}

func (k *keyring) load(zoneID string) (jose.JSONWebKey, error) {
	var key jose.JSONWebKey
	var kept []store.SigningKey
	err := k.store.View(func(tx *store.Tx) error {
		kept = tx.SigningKeys.All(zoneID, nil)
		return nil
	})
	if err != nil {
		return key, err
	}
	if len(kept) > 0 {
		err := key.UnmarshalJSON([]byte(kept[0].JWK))
		return key, err
	}
	if key, err = newKey(); err != nil {
		return key, err
	}
	text, err := key.MarshalJSON()
	if err != nil {
		return key, err
	}
	return key, k.store.Do(func(tx *store.Tx) error {
		_, err := tx.SigningKeys.Insert(store.SigningKey{Meta: store.Meta{ZoneID: zoneID}, JWK: string(text)})
		return err
	})
}

func newKey() (jose.JSONWebKey, error) {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	key := jose.JSONWebKey{Key: private, Algorithm: string(jose.RS256), Use: "sig"}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	key.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	return key, err
}

func (k *keyring) public(zoneID string) (jose.JSONWebKeySet, error) {
	key, err := k.key(zoneID)
	return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}}, err
}

// typeAccess is the typ header of access tokens (RFC 9068, section 2.1). It keeps
// an ID token from being used as one.
const typeAccess = "at+jwt"

// sign makes a token of the type from the claims.
func (k *keyring) sign(zoneID, typ string, c any) (string, error) {
	key, err := k.key(zoneID)
	if err != nil {
		return "", err
	}
	options := (&jose.SignerOptions{}).WithType(jose.ContentType(typ))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, options)
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
	if parsed.Headers[0].ExtraHeaders[jose.HeaderType] != typeAccess {
		return c, fmt.Errorf("it is no access token")
	}
	key, err := k.key(zoneID)
	if err != nil {
		return c, err
	}
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
