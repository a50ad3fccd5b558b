// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/atlassian"
	"github.com/keycardai/keycard-operator/internal/keycard"
)

// Verdict is what came of trying a token at Confluence: one of the reasons of condition Verified, or "" when it was not tried. It
// is remembered with the token in the Secret, so that a restart neither forgets it nor tries again.
type Verdict string

// verdicts says what each means. Its texts hold nothing of the answer: they are the same each time.
var verdicts = map[Verdict]struct {
	status  metav1.ConditionStatus
	message string
}{
	v1alpha1.ReasonVerified: {metav1.ConditionTrue, "Confluence accepted the token"},
	v1alpha1.ReasonTokenRefused: {
		metav1.ConditionFalse,
		"Confluence refuses the token (HTTP 401): the grant behind it has ended, or was revoked at Atlassian; the person has to consent again",
	},
	v1alpha1.ReasonScopeMismatch: {
		metav1.ConditionFalse,
		"Confluence refuses the token for its scopes (HTTP 401): the OAuth app lacks a scope of spec.scopes in Atlassian's developer console; add it there, then the person has to consent again",
	},
	v1alpha1.ReasonAccessForbidden: {
		metav1.ConditionFalse,
		"Confluence forbids the access (HTTP 403): the person has no access to Confluence at this site, or the site's app access policy blocks the app; ask the site's administrator",
	},
	v1alpha1.ReasonSiteNotFound: {
		metav1.ConditionFalse,
		"the token is not good for this site any more (HTTP 404): the site is gone, or the grant does not cover it; correct spec.site.url, or consent again and pick that site",
	},
	v1alpha1.ReasonProbeInconclusive: {
		metav1.ConditionUnknown,
		"Confluence did not answer as expected when the token was tried; the next token is tried again",
	},
	v1alpha1.ReasonProbeUnavailable: {
		metav1.ConditionUnknown,
		"no read of Confluence is known that the token's scopes open, so it was not tried; a scope such as read:page:confluence makes it possible",
	},
}

// Refuses reports whether Confluence does not take the token.
func (v Verdict) Refuses() bool { return verdicts[v].status == metav1.ConditionFalse }

// Known reports whether v is one of the verdicts.
func (v Verdict) Known() bool { return verdicts[v].message != "" }

// Status returns the status of condition Verified.
func (v Verdict) Status() metav1.ConditionStatus { return verdicts[v].status }

// Message returns what the verdict means and what to do about it.
func (v Verdict) Message() string { return verdicts[v].message }

// A probe holds a worker that all bindings share, while the token waits to be written. So it is given up soon, and while
// Confluence does not answer at all, tokens are tried once in a while only.
const (
	probeTimeout = 5 * time.Second
	probePause   = time.Minute
)

// Probe tries a token at a site before it is written. Whatever comes of it the token is written: a probe can be wrong, and a token
// that is withheld is an outage for sure.
func (f *Finder) Probe(ctx context.Context, token keycard.Token, at atlassian.Site, scopes []string) Verdict {
	if f.clock.Now().Before(time.Unix(0, f.probeAgain.Load())) {
		return v1alpha1.ReasonProbeInconclusive
	}
	if len(token.Scopes) > 0 {
		scopes = token.Scopes
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err := f.atlassian.Probe(ctx, at.CloudID, scopes, token.AccessToken)
	v := verdictOf(err)
	if v == v1alpha1.ReasonSiteNotFound && !f.gone(ctx, token, at) {
		// The site may be there, and it was the call that Confluence does not know any more.
		v = v1alpha1.ReasonProbeInconclusive
	}
	if remote, ok := keycard.AsError(err); ok && remote.Status == 0 {
		f.probeAgain.Store(f.clock.Now().Add(probePause).UnixNano())
	}
	if err != nil {
		log.FromContext(ctx).Info("tried the token at Confluence", "verdict", v, "cause", err.Error())
	}
	return v
}

func verdictOf(err error) Verdict {
	if err == nil {
		return v1alpha1.ReasonVerified
	}
	if errors.Is(err, atlassian.ErrNoProbe) {
		return v1alpha1.ReasonProbeUnavailable
	}
	remote, ok := keycard.AsError(err)
	switch {
	case !ok:
	case remote.Status == http.StatusUnauthorized && strings.Contains(remote.Description, "scope"):
		return v1alpha1.ReasonScopeMismatch
	case remote.Status == http.StatusUnauthorized:
		return v1alpha1.ReasonTokenRefused
	case remote.Status == http.StatusForbidden:
		return v1alpha1.ReasonAccessForbidden
	case remote.Status == http.StatusNotFound:
		return v1alpha1.ReasonSiteNotFound
	}
	return v1alpha1.ReasonProbeInconclusive
}

// gone reports whether a token is known to be good for a site no more.
func (f *Finder) gone(ctx context.Context, token keycard.Token, site atlassian.Site) bool {
	sites, err := f.atlassian.Sites(ctx, token.AccessToken)
	return err == nil && !slices.ContainsFunc(sites, func(x atlassian.Site) bool { return x.CloudID == site.CloudID })
}
