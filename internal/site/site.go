// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package site finds the Atlassian site that a token is good for, and tries the token there.
package site

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"k8s.io/utils/clock"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/atlassian"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// Finder asks Atlassian. It is safe for concurrent use.
type Finder struct {
	atlassian *atlassian.Client
	clock     clock.PassiveClock
	// probeAgain is when tokens may be tried at Confluence again, in nanoseconds since 1970.
	probeAgain atomic.Int64
}

// New returns a Finder.
func New(client *atlassian.Client, clk clock.PassiveClock) *Finder {
	return &Finder{atlassian: client, clock: clk}
}

// BaseURL returns where Confluence's API is for a site.
func (f *Finder) BaseURL(at atlassian.Site) string { return f.atlassian.ConfluenceURL(at.CloudID) }

// Find returns the site that a token is for: the one with the URL wanted, or the only one where wanted is "". known is the site of
// the token before; its CloudID is "" when there is none. With again, or without a known site, Atlassian is asked; a site does not
// change from token to token. The error is a *problem.Problem.
func (f *Finder) Find(ctx context.Context, token keycard.Token, wanted string, known atlassian.Site, again bool) (atlassian.Site, error) {
	if known.CloudID != "" && !again {
		return known, nil
	}
	sites, err := f.atlassian.Sites(ctx, token.AccessToken)
	if err != nil {
		err = atlassianProblem(err)
		if p, ok := errors.AsType[*problem.Problem](err); ok && p.Passes() && known.CloudID != "" {
			return known, nil // a good token need not wait for that
		}
		return atlassian.Site{}, err
	}
	at, err := atlassian.Choose(sites, wanted)
	return at, siteProblem(err)
}

func siteProblem(err error) error {
	var (
		none          atlassian.NoSiteError
		notAccessible atlassian.NotAccessibleError
		ambiguous     atlassian.AmbiguousError
	)
	switch {
	case errors.As(err, &none):
		return problem.NeedsPerson(v1alpha1.ReasonNoAccessibleSites,
			"%v; the person has to pick at least one site in Atlassian's consent screen: revoke the grant and consent again", err)
	case errors.As(err, &notAccessible):
		return problem.NeedsPerson(v1alpha1.ReasonSiteNotAccessible,
			"%v; correct spec.site.url, or consent again and pick that site", err)
	case errors.As(err, &ambiguous):
		return problem.NeedsPerson(v1alpha1.ReasonSiteAmbiguous, "%v; name one of them in spec.site.url", err)
	}
	return err
}

// atlassianProblem turns an error of Atlassian's API into a problem. The token is fresh from the zone, so
// a refusal is about the grant behind it.
func atlassianProblem(err error) error {
	remote, ok := keycard.AsError(err)
	if !ok {
		return err
	}
	switch remote.Class {
	case keycard.Transient:
		return problem.Passing(v1alpha1.ReasonAtlassianUnreachable, "%v; it is retried", remote)
	case keycard.Throttled:
		return problem.Throttled(remote.RetryAfter, v1alpha1.ReasonThrottled, "%v; it is retried after the pause Atlassian asked for", remote)
	}
	if remote.Status != http.StatusUnauthorized && remote.Status != http.StatusForbidden {
		return problem.Passing(v1alpha1.ReasonAtlassianUnreachable,
			"%v; it is retried; if it lasts, check --atlassian-url, and proxies on the way to Atlassian", remote)
	}
	return problem.NeedsPerson(v1alpha1.ReasonTokenUnusable,
		"Atlassian refuses the token that the zone issued: %v; the person has to revoke the grant and consent again", remote)
}
