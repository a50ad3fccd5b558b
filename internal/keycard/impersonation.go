// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"unicode"
	"unicode/utf8"

	"github.com/keycardai/keycard-operator/internal/redacted"
)

const maxUserIdentifier = 2048 // characters, the API's limit for identifiers

// impersonationHeader is the JOSE header of a substitute-user token, byte for byte as Keycard documents it.
const impersonationHeader = `{"typ":"vnd.kc.su+jwt","alg":"none"}`

// ImpersonationToken makes the subject token that names the user to act for; exchange it with
// TokenTypeSubstituteUser. It is an unsigned JWT that proves nothing: the authority is the client's
// authentication and the zone's policy. The identifier is the user's Identifier in the zone, compared
// exactly.
func ImpersonationToken(userIdentifier string) (redacted.String, error) {
	const op = "naming the user to act for"
	switch {
	case userIdentifier == "":
		return redacted.String{}, misconfigured(op, "the user identifier is empty")
	case !utf8.ValidString(userIdentifier):
		return redacted.String{}, misconfigured(op, "the user identifier is not valid UTF-8")
	case utf8.RuneCountInString(userIdentifier) > maxUserIdentifier:
		return redacted.String{}, misconfigured(op, "the user identifier is longer than %d characters", maxUserIdentifier)
	}
	for _, r := range userIdentifier {
		if unicode.IsControl(r) {
			return redacted.String{}, misconfigured(op, "the user identifier has a control character, such as a line end")
		}
	}
	var claims bytes.Buffer
	encoder := json.NewEncoder(&claims)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(struct {
		Sub string `json:"sub"`
	}{userIdentifier}); err != nil {
		return redacted.String{}, misconfigured(op, "the user identifier cannot be encoded")
	}
	encode := base64.RawURLEncoding.EncodeToString
	payload := bytes.TrimSuffix(claims.Bytes(), []byte("\n"))
	return redacted.New(encode([]byte(impersonationHeader)) + "." + encode(payload) + "."), nil
}
