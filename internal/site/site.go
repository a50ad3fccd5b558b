// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package site finds the Atlassian site that a token is good for, and tries the token there.
package site

import (
	"context"
	"errors"
	"sync/atomic"

	"k8s.io/utils/clock"

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
		p, ok := problem.FromAtlassian(err)
		if !ok {
			return atlassian.Site{}, err
		}
		if p.Passes() && known.CloudID != "" {
			return known, nil // a good token need not wait for that
		}
		return atlassian.Site{}, p
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
		return problem.NoAccessibleSites()
	case errors.As(err, &notAccessible):
		return problem.SiteNotAccessible(notAccessible.Wanted, notAccessible.Sites)
	case errors.As(err, &ambiguous):
		return problem.SiteAmbiguous(ambiguous.Sites)
	}
	return err
}
