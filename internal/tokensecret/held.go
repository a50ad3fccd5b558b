// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokensecret

import (
	"fmt"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/secretmeta"
)

// Held is what the metadata of a Secret says of the token in it.
type Held struct {
	// Life is known in whole seconds.
	Life             refresh.Life
	Scopes           []string
	SiteURL, CloudID string
	Note
}

// Note is what is remembered with a token besides what its files say.
type Note struct {
	// Made are the fingerprints of what the token was made for.
	Made Wanted
	// SubjectVersion is the version of the Secret whose token was exchanged; "" for other subjects.
	SubjectVersion string
	// SubjectHash fingerprints that token; "" for other subjects, and for the token of an operator that did not note it.
	SubjectHash string
	// Verdict is what came of trying the token: a reason of condition Verified, or "" when it was not tried.
	Verdict string
	// Request is the request for a new token that was honoured last; "" when there was none, or for the token of an operator
	// that did not note it here.
	Request string
	// Lifetime is what was odd about the lifetime that the zone announced; zero when nothing was.
	Lifetime keycard.Lifetime
}

// bookkeeping lists the annotations that every token has.
var bookkeeping = []string{
	v1alpha1.IssuedAtAnnotation, v1alpha1.ExpiresAtAnnotation,
	v1alpha1.ExchangeHashAnnotation, v1alpha1.SpecHashAnnotation, v1alpha1.LayoutHashAnnotation,
	v1alpha1.ScopesAnnotation, v1alpha1.SiteURLAnnotation, v1alpha1.CloudIDAnnotation,
}

// MadeFor reports whether the token was made for what is wanted. While the KeycardResource can't be used, only what stands in the
// binding is compared.
func (h *Held) MadeFor(w Wanted) bool {
	if w.Exchange == "" {
		return h.Made.Spec == w.Spec
	}
	return h.Made.Exchange == w.Exchange
}

// annotations are what heldIn reads back.
func (h *Held) annotations() map[string]string {
	a := map[string]string{
		v1alpha1.IssuedAtAnnotation:     h.Life.IssuedAt.UTC().Format(time.RFC3339),
		v1alpha1.ExpiresAtAnnotation:    h.Life.ExpiresAt.UTC().Format(time.RFC3339),
		v1alpha1.ExchangeHashAnnotation: h.Made.Exchange,
		v1alpha1.SpecHashAnnotation:     h.Made.Spec,
		v1alpha1.LayoutHashAnnotation:   h.Made.Layout,
		v1alpha1.ScopesAnnotation:       strings.Join(h.Scopes, " "),
		v1alpha1.SiteURLAnnotation:      h.SiteURL,
		v1alpha1.CloudIDAnnotation:      h.CloudID,
	}
	for key, note := range map[string]string{
		v1alpha1.LifetimeNoteAnnotation: lifetimeNote(h.Lifetime), v1alpha1.VerdictAnnotation: h.Verdict,
		v1alpha1.SubjectVersionAnnotation: h.SubjectVersion, v1alpha1.SubjectHashAnnotation: h.SubjectHash,
		v1alpha1.RefreshRequestAnnotation: h.Request,
	} {
		if note != "" {
			a[key] = note
		}
	}
	return a
}

// heldIn reads which token is in a Secret with these annotations; nil when they can't be understood. Those that need not be
// there count only when they are ours.
func heldIn(annotations map[string]string, ours secretmeta.Fields) *Held {
	note := func(key string) string {
		if !ours.Has(key) {
			return ""
		}
		return annotations[key]
	}
	issued, err := time.Parse(time.RFC3339, annotations[v1alpha1.IssuedAtAnnotation])
	if err != nil {
		return nil
	}
	expires, err := time.Parse(time.RFC3339, annotations[v1alpha1.ExpiresAtAnnotation])
	if err != nil || !expires.After(issued) {
		return nil
	}
	return &Held{
		Life:    refresh.Life{IssuedAt: issued, ExpiresAt: expires},
		Scopes:  strings.Fields(annotations[v1alpha1.ScopesAnnotation]),
		SiteURL: annotations[v1alpha1.SiteURLAnnotation],
		CloudID: annotations[v1alpha1.CloudIDAnnotation],
		Note: Note{
			Made: Wanted{
				Exchange: annotations[v1alpha1.ExchangeHashAnnotation],
				Spec:     annotations[v1alpha1.SpecHashAnnotation],
				Layout:   annotations[v1alpha1.LayoutHashAnnotation],
			},
			SubjectVersion: note(v1alpha1.SubjectVersionAnnotation),
			SubjectHash:    note(v1alpha1.SubjectHashAnnotation),
			Verdict:        note(v1alpha1.VerdictAnnotation),
			Request:        note(v1alpha1.RefreshRequestAnnotation),
			Lifetime:       parseLifetime(note(v1alpha1.LifetimeNoteAnnotation)),
		},
	}
}

// lifetimeNote is the annotation for an odd lifetime: source, announcement and skew.
func lifetimeNote(l keycard.Lifetime) string {
	if !l.Odd() {
		return ""
	}
	return fmt.Sprintf("%s %s %s", l.Source, l.Announced, l.ClockSkew)
}

// parseLifetime reads the annotation. Earlier operators wrote a sentence, of which no more is kept than that the lifetime was odd:
// the next token has a new one.
func parseLifetime(note string) keycard.Lifetime {
	if parts := strings.Fields(note); len(parts) == 3 {
		if skew, err := time.ParseDuration(parts[2]); err == nil {
			return keycard.Lifetime{Source: keycard.LifetimeSource(parts[0]), Announced: keycard.Announcement(parts[1]), ClockSkew: skew}
		}
	}
	if note == "" {
		return keycard.Lifetime{}
	}
	return keycard.Lifetime{Source: keycard.LifetimeAssumed}
}
