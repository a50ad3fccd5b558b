// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/devzone/store"
)

// substituteUserType is the typ header of a subject token that only names a
// user.
const substituteUserType = "vnd.kc.su+jwt"

// subject is on whose behalf a token is asked for.
type subject struct {
	identifier  string
	impersonate bool
	// audience is the first aud of a zone access token.
	audience string
	// sessionID is the sid of a zone access token that has one.
	sessionID string
	// claims are those of the token, for the policies.
	claims map[string]any
}

// readSubject reads subject_token. What cannot be parsed is an invalid_request;
// what can be, but does not hold, an invalid_grant.
func (s *server) readSubject(c call) (subject, error) {
	token := c.form["subject_token"]
	if token == "" {
		return subject{}, invalidRequest("subject_token is required")
	}
	switch kind := c.form["subject_token_type"]; kind {
	case typeSubstituteUser:
		user, err := parseSubstituteUser(token)
		return subject{identifier: user, impersonate: true, claims: map[string]any{"sub": user}}, err
	case typeAccessToken, typeJWT:
		claims, err := s.zoneToken(c, "subject_token", token)
		if err != nil {
			return subject{}, err
		}
		if claims.SubProfile != profileUser || len(claims.Audience) == 0 {
			return subject{}, refuse("invalid_grant", "subject_token was not issued for a user")
		}
		return subject{
			identifier: claims.Subject, audience: claims.Audience[0], sessionID: claims.SessionID, claims: claims.members(),
		}, nil
	case "":
		return subject{}, invalidRequest("subject_token_type is required")
	default:
		return subject{}, invalidRequest("subject_token_type %s is not supported", printable(kind))
	}
}

// readActor reads the optional actor_token, an application's own zone token.
func (s *server) readActor(c call) (*claims, error) {
	token, kind := c.form["actor_token"], c.form["actor_token_type"]
	switch {
	case token == "" && kind == "":
		return nil, nil
	case token == "" || kind == "":
		return nil, invalidRequest("actor_token and actor_token_type must be given together")
	case kind != typeAccessToken && kind != typeJWT:
		return nil, invalidRequest("actor_token_type %s is not supported", printable(kind))
	}
	found, err := s.zoneToken(c, "actor_token", token)
	if err != nil {
		return nil, err
	}
	if found.ApplicationID != c.client.application.ID {
		return nil, refuse("invalid_grant", "actor_token was not issued to the calling application")
	}
	return &found, nil
}

func (s *server) zoneToken(c call, parameter, token string) (claims, error) {
	found, err := s.keys.verify(c.zone.ID, s.Issuers.Of(c.zone.ID), token, s.Clock())
	if errors.Is(err, errMalformed) {
		return found, invalidRequest("%s is malformed: it must be an access token of this zone", parameter)
	}
	if err != nil {
		return found, refuse("invalid_grant", "%s is not valid: %s", parameter, err.Error())
	}
	return found, nil
}

// parseSubstituteUser reads the unsigned token that names a user: the header
// {"typ":"vnd.kc.su+jwt","alg":"none"}, the one claim sub, and an empty
// signature after the second dot.
func parseSubstituteUser(token string) (string, error) {
	malformed := invalidRequest("subject_token is malformed: it must be an unsigned JWT of the type %s with the one claim sub",
		substituteUserType)
	parts := strings.Split(token, ".")
	if len(parts) != 3 || parts[2] != "" {
		return "", malformed
	}
	var header struct {
		Type      string `json:"typ"`
		Algorithm string `json:"alg"`
	}
	var body struct {
		Subject string `json:"sub"`
	}
	if !decodePart(parts[0], &header) || !decodePart(parts[1], &body) {
		return "", malformed
	}
	if header.Type != substituteUserType || header.Algorithm != "none" || body.Subject == "" {
		return "", malformed
	}
	return body.Subject, nil
}

// decodePart decodes one part of a JWT that has no other keys than v knows.
func decodePart(part string, v any) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if d.Decode(v) != nil {
		return false
	}
	_, err = d.Token()
	return errors.Is(err, io.EOF)
}

// alive refuses a token of a session that has ended. The token itself would be
// valid for a while.
func alive(tx *store.Tx, c call, sub subject, now time.Time) error {
	if sub.sessionID == "" {
		return nil
	}
	if _, live := tx.LiveSession(c.zone.ID, sub.sessionID, now); !live {
		return refuse("invalid_grant", "subject_token belongs to a session that was revoked or has expired")
	}
	return nil
}

// owned applies the ownership rule: the caller must provide the resource that
// the subject token was issued for. A dependency does not replace that.
func owned(tx *store.Tx, c call, sub subject) (*store.Resource, error) {
	if sub.impersonate {
		return nil, nil
	}
	resource, ok := tx.Resources.Find(c.zone.ID, sub.audience)
	if !ok || resource.ApplicationID == nil || *resource.ApplicationID != c.client.application.ID {
		return nil, refuse("invalid_grant", "Client is not allowed to exchange token for this resource")
	}
	return &resource, nil
}
