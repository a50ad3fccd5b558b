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

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/atlassian"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// Verdict is what came of trying a token at Confluence: one of the reasons of condition Verified, or "" when it was not tried. It
// is remembered with the token in the Secret, so that a restart neither forgets it nor tries again.
type Verdict string

// Refuses reports whether Confluence does not take the token.
func (v Verdict) Refuses() bool {
	p := problem.Probed(string(v))
	return p != nil && p.Stalls()
}

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
