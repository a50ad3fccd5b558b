// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokensecret

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// Wanted are fingerprints of what a binding wants. Those that a token was made for are stored with
// it, so a difference shows.
type Wanted struct {
	// Exchange covers all that a token depends on; "" while the KeycardResource can't be used.
	Exchange string
	// Spec covers what of it stands in the binding's own spec. Labels, annotations and the layout
	// are not among it.
	Spec string
	// Layout covers how the token is laid out in the Secret.
	Layout string
}

// layoutVersion changes when the operator lays tokens out differently for the same spec.
const layoutVersion = 1

// Wants returns the fingerprints of what a spec wants, without Exchange.
func Wants(spec *v1alpha1.ConfluenceTokenBindingSpec) Wanted {
	formats := slices.Sorted(slices.Values(spec.Secret.Formats))
	return Wanted{
		Spec:   hash(spec.ResourceRef, spec.Application, spec.Subject, spec.Scopes, spec.Site),
		Layout: hash(layoutVersion, formats, spec.Secret.Labels, spec.Secret.Annotations),
	}
}

// Of returns the fingerprints with Exchange: for a resource of a zone, with these scopes.
func (w Wanted) Of(issuer, resource string, scopes []string) Wanted {
	w.Exchange = hash(w.Spec, issuer, resource, scopes)
	return w
}

// hash fingerprints values by their JSON, which is the same for the same values: fields have an
// order, and map keys are sorted.
func hash(values ...any) string {
	raw, err := json.Marshal(values)
	if err != nil {
		panic("tokensecret: hashing plain API types: " + err.Error()) // no such type fails to encode
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16])
}
