// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/keycardai/keycard-operator/devzone/broker"
	"github.com/keycardai/keycard-operator/devzone/seed"
)

// Atlassian's real origins, which objects are registered with and which the
// server's own requests are sent to the stand-in for.
const (
	atlassianAuthOrigin = "https://auth.atlassian.com"
	atlassianAPIOrigin  = "https://api.atlassian.com"
)

// systemPort lets the system choose a loopback port.
const systemPort = "127.0.0.1:0"

// defaultLifetime is the life of every kind of token unless configured.
const defaultLifetime = time.Hour

// ErrInvalidConfig is wrapped by what Start returns when the Config, its seed,
// its issuer or its upstream map is wrong, and not the machine it runs on.
var ErrInvalidConfig = errors.New("invalid configuration")

// RefreshMode says what an upstream refresh does to the access token before it.
type RefreshMode string

const (
	// Overlap lets the previous access token live out its time.
	Overlap RefreshMode = "overlap"
	// Invalidate ends the previous access token at once.
	Invalidate RefreshMode = "invalidate"
)

// RefreshModes are the accepted modes.
var RefreshModes = []RefreshMode{Overlap, Invalidate}

// Config says how the server starts. The zero value is usable: the default
// seed on loopback ports chosen by the system, with the lifetimes and behaviour
// of the hosted services where those are known.
type Config struct {
	// Seed is what there is at the start; seed.Default() when nil. A data folder
	// that was filled before keeps the seed that it was filled with.
	Seed *seed.Seed
	// DataDir is the folder that keeps everything across restarts; in memory
	// when empty.
	DataDir string
	// DataKey encrypts the folder: disk.KeySize random bytes.
	DataKey []byte

	// ZoneAddress, APIAddress, AtlassianAddress and AdminAddress are host:port to
	// listen on; port 0 and an empty value let the system choose.
	ZoneAddress, APIAddress, AtlassianAddress, AdminAddress string
	// Issuer is the default zone's issuer; the zone listener's URL when empty.
	Issuer string

	// ZoneTokenLifetime is the life of tokens that a zone signs, one hour when
	// zero.
	ZoneTokenLifetime time.Duration
	// UpstreamTokenLifetime is the life of the stand-in's access tokens, one
	// hour when zero.
	UpstreamTokenLifetime time.Duration
	// RefreshLeeway is how long the stand-in accepts a rotated refresh token,
	// ten minutes when zero, not at all when negative.
	RefreshLeeway time.Duration

	// UpstreamTokens says whether each exchange refreshes (broker.Refresh, the
	// default) or hands out a cached token (broker.Cached).
	UpstreamTokens broker.Mode
	// MinRemaining is the life below which a cached token is refreshed; a fifth
	// of UpstreamTokenLifetime, at most five minutes, when zero.
	MinRemaining time.Duration
	// AtlassianRefresh is Overlap unless set.
	AtlassianRefresh RefreshMode
	// OmitExpiresIn leaves expires_in out of the zones' token responses.
	OmitExpiresIn bool
	// UnauthorizedClientDenial answers a forbidden impersonation with
	// unauthorized_client instead of access_denied.
	UnauthorizedClientDenial bool

	// Strict refuses parameters and fields that the management API does not know. Without it they
	// are ignored with a warning, as the hosted service ignores them.
	Strict bool

	// Upstreams maps origins (such as https://auth.atlassian.com) to base URLs
	// for the requests that the zones make. Atlassian's two go to the stand-in
	// unless mapped here.
	Upstreams map[string]string
	// TLSDir is the folder with the CA of the server's own, made when it is not
	// there; the listeners speak plain HTTP when it is empty.
	TLSDir string
	// TLSNames are host names and addresses for the certificate, besides those of
	// this machine and the issuer's.
	TLSNames []string

	// UpstreamCAs are trusted for the requests that the zones make, instead of
	// the system's CAs; those when nil.
	UpstreamCAs *x509.CertPool

	// Logger gets structured records without secrets; none are kept when nil.
	Logger *slog.Logger
	// Clock is the time that tokens and objects go by; time.Now when nil.
	Clock func() time.Time

	// ZoneMiddleware, APIMiddleware and AtlassianMiddleware wrap a surface, so
	// that a test can count, delay and corrupt requests.
	ZoneMiddleware, APIMiddleware, AtlassianMiddleware func(http.Handler) http.Handler
}

// withDefaults returns a copy with the defaults filled in.
func (c Config) withDefaults() Config {
	c.ZoneAddress = cmp.Or(c.ZoneAddress, systemPort)
	c.APIAddress = cmp.Or(c.APIAddress, systemPort)
	c.AtlassianAddress = cmp.Or(c.AtlassianAddress, systemPort)
	c.AdminAddress = cmp.Or(c.AdminAddress, systemPort)
	c.ZoneTokenLifetime = cmp.Or(c.ZoneTokenLifetime, defaultLifetime)
	c.UpstreamTokenLifetime = cmp.Or(c.UpstreamTokenLifetime, defaultLifetime)
	c.MinRemaining = cmp.Or(c.MinRemaining, min(5*time.Minute, c.UpstreamTokenLifetime/5))
	c.UpstreamTokens = cmp.Or(c.UpstreamTokens, broker.Refresh)
	c.AtlassianRefresh = cmp.Or(c.AtlassianRefresh, Overlap)
	if c.Seed == nil {
		c.Seed = seed.Default()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return c
}

// validate reports what is wrong with a complete configuration.
func (c Config) validate() error {
	for _, lifetime := range []time.Duration{c.ZoneTokenLifetime, c.UpstreamTokenLifetime} {
		if lifetime < time.Second {
			return fmt.Errorf("token lifetime %s is too short: it must be at least 1s", lifetime)
		}
	}
	if !slices.Contains(broker.Modes, c.UpstreamTokens) {
		return fmt.Errorf("upstream tokens %q is not one of %v", c.UpstreamTokens, broker.Modes)
	}
	if !slices.Contains(RefreshModes, c.AtlassianRefresh) {
		return fmt.Errorf("atlassian refresh %q is not one of %v", c.AtlassianRefresh, RefreshModes)
	}
	return c.Seed.Validate()
}

// names are those for the certificate.
func (c Config) names() []string {
	if u, err := url.Parse(c.Issuer); err == nil && u.Hostname() != "" {
		return append([]string{u.Hostname()}, c.TLSNames...)
	}
	return c.TLSNames
}
