// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// Lengths of a code_verifier (RFC 7636, section 4.1).
const (
	minVerifier = 43
	maxVerifier = 128
)

// authorizationCode serves the authorization code grant (RFC 6749, section
// 4.1.3). The code is used up only when tokens come of it, so that a request
// which failed on the way can be repeated.
func (s *server) authorizationCode(ctx context.Context, c call) (*tokenResponse, error) {
	code, user, parent, err := s.findCode(c)
	if err != nil {
		return nil, err
	}
	now := s.Clock().UTC()
	token, session := newRefreshToken(store.Session{
		Meta: store.Meta{ID: store.NewID(), ZoneID: c.zone.ID}, Type: store.SessionApplication,
		UserID: user.ID, ApplicationID: c.client.application.ID, ClientID: c.client.id(), UserAgentID: c.client.userAgentID,
		ProviderID: parent.ProviderID, Issuer: parent.Issuer, Subject: parent.Subject,
		ParentID: parent.ID, Status: store.SessionActive,
		AuthenticatedAt: parent.AuthenticatedAt, ExpiresAt: now.Add(refreshLifetime),
		Scopes: code.Scopes, Resources: code.Resources,
	})
	c.scopes = code.Scopes
	out, err := s.issueInSession(ctx, c, session, user, code.Nonce)
	if err != nil {
		return nil, err
	}
	out.RefreshToken = token
	return out, s.redeem(c.zone.ID, code, session)
}

// findCode returns the code of a request that proves to be the one of the
// authorize request, with the person and her session.
func (s *server) findCode(c call) (code store.Code, user store.User, parent store.Session, err error) {
	value := c.form["code"]
	if value == "" {
		return code, user, parent, invalidRequest("code is required")
	}
	known, live, now := false, false, s.Clock()
	err = s.Store.View(func(tx *store.Tx) error {
		if code, known = tx.Codes.Find(c.zone.ID, store.DigestKey(store.DigestOf(value))); !known {
			return nil
		}
		if parent, live = tx.LiveSession(c.zone.ID, code.SessionID, now); !live {
			return nil
		}
		user, err = tx.Users.Get(c.zone.ID, code.UserID)
		return err
	})
	switch {
	case err != nil:
	case !known:
		err = invalidGrant("code is unknown or has expired")
	case code.Redeemed:
		err = s.replayed(c.zone.ID, code)
	case code.ClientID != c.client.id():
		err = invalidGrant("code was issued to another client")
	case !now.Before(code.ExpiresAt):
		err = invalidGrant("code is unknown or has expired")
	case code.RedirectURI != c.form["redirect_uri"]:
		err = invalidGrant("redirect_uri differs from the one of the authorize request")
	case !live:
		err = invalidGrant("the session that the code was issued in has ended")
	default:
		err = checkVerifier(code.Challenge, c.form["code_verifier"], c.client.public || c.zone.PKCERequired)
	}
	return code, user, parent, err
}

// checkVerifier compares a code_verifier with the S256 code_challenge of the
// authorize request (RFC 7636, section 4.6). A verifier without a challenge is
// refused, because somebody may have removed the challenge on its way.
func checkVerifier(challenge, verifier string, required bool) error {
	switch {
	case challenge == "" && verifier != "":
		return invalidGrant("code_verifier was given, but the authorize request had no code_challenge")
	case challenge == "" && required:
		return invalidGrant("the authorize request had no code_challenge, which this client needs")
	case challenge == "":
		return nil
	case verifier == "":
		return invalidRequest("code_verifier is required")
	case len(verifier) < minVerifier || len(verifier) > maxVerifier || strings.ContainsFunc(verifier, reserved):
		return invalidRequest("code_verifier must be %d to %d letters, digits and -._~", minVerifier, maxVerifier)
	}
	sum := sha256.Sum256([]byte(verifier))
	if subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) != 1 {
		return invalidGrant("code_verifier does not belong to the code_challenge of the authorize request")
	}
	return nil
}

// reserved tells what RFC 3986, section 2.3, does not call unreserved.
func reserved(r rune) bool {
	letter := (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') || (r >= '0' && r <= '9')
	return !letter && !strings.ContainsRune("-._~", r)
}

// redeem uses the code up and stores the session that came of it. Of two
// requests with one code the later one ends the session of the earlier.
func (s *server) redeem(zoneID string, code store.Code, session store.Session) error {
	now, used := s.Clock(), false
	err := s.Store.Do(func(tx *store.Tx) error {
		for _, old := range tx.Codes.All(zoneID, func(o store.Code) bool { return !now.Before(o.ExpiresAt) }) {
			if err := tx.Codes.Delete(zoneID, old.ID); err != nil {
				return err
			}
		}
		current, found := tx.Codes.Find(zoneID, store.DigestKey(code.Value))
		if _, live := tx.LiveSession(zoneID, code.SessionID, now); !found || !live {
			return invalidGrant("code is unknown or has expired")
		}
		if used = current.Redeemed; used {
			code = current
			return nil
		}
		current.Redeemed, current.IssuedID = true, session.ID
		if _, err := tx.Codes.Replace(current); err != nil {
			return err
		}
		_, err := tx.Sessions.Insert(session)
		return err
	})
	if err == nil && used {
		return s.replayed(zoneID, code)
	}
	return err
}

// replayed ends what was issued for a code that comes a second time: one of the
// two senders stole it (RFC 6749, section 4.1.2).
func (s *server) replayed(zoneID string, code store.Code) error {
	if err := s.revoke(zoneID, code.IssuedID); err != nil {
		return err
	}
	return invalidGrant("code was used before: what was issued for it is revoked")
}
