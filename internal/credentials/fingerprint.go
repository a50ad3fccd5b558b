// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Fingerprint tells a client as it was sent to a provider of a zone from what it is later. The zone
// gives no secret back, so this is the only way to notice a change. It is keyed with the secret of
// the service account that sent it, which is nowhere in a status, so that the client's can't be
// guessed from it. It begins with the key's name, which the service account's client id is: each
// secret has its own.
func Fingerprint(sent Client, providerID string, by Client) string {
	name := sha256.Sum256([]byte(by.ID))
	mac := hmac.New(sha256.New, []byte(by.Secret.Reveal()))
	for _, part := range []string{"oauth-app/v1", providerID, sent.ID, sent.Secret.Reveal()} {
		_, _ = fmt.Fprintf(mac, "%d:%s,", len(part), part)
	}
	return hex.EncodeToString(name[:4]) + "-" + hex.EncodeToString(mac.Sum(nil)[:16])
}

// SameKey reports whether two fingerprints are keyed alike: then they differ when the client does.
func SameKey(a, b string) bool {
	keyA, _, _ := strings.Cut(a, "-")
	keyB, _, _ := strings.Cut(b, "-")
	return keyA == keyB
}
