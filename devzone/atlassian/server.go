// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/keycardai/keycard-operator/devzone/disk"
	"github.com/keycardai/keycard-operator/devzone/wire"
)

// Defaults of the hosted service.
const (
	DefaultTokenLifetime = time.Hour
	DefaultRefreshLeeway = 10 * time.Minute
)

const (
	codeLifetime     = 5 * time.Minute
	pendingLifetime  = 10 * time.Minute
	inactivity       = 90 * 24 * time.Hour
	offlineAccess    = "offline_access"
	requiredAudience = "api.atlassian.com"
)

// Config says what the stand-in knows and how its tokens behave. A zero value
// of a duration means the hosted service's own.
type Config struct {
	Data Data
	// TokenLifetime is the life of an access token.
	TokenLifetime time.Duration
	// RefreshLeeway is how long a refresh token still works after its rotation.
	// A negative value means not at all.
	RefreshLeeway time.Duration
	// InvalidateOnRefresh makes a refresh end the previous access token at
	// once; otherwise it lives out its time.
	InvalidateOnRefresh bool
	// Clock defaults to time.Now.
	Clock func() time.Time
	// Disk keeps approvals and tokens; they are in memory when it is nil.
	Disk *disk.DB
}

// Server is the stand-in. It is safe for concurrent use.
type Server struct {
	data   Data
	config Config
	clock  func() time.Time
	state  *state
	limits *limiter
	mux    *http.ServeMux
}

// New returns a stand-in for valid data.
func New(c Config) (*Server, error) {
	if err := c.Data.Validate(); err != nil {
		return nil, fmt.Errorf("checking atlassian data: %w", err)
	}
	if c.TokenLifetime == 0 {
		c.TokenLifetime = DefaultTokenLifetime
	}
	if c.RefreshLeeway == 0 {
		c.RefreshLeeway = DefaultRefreshLeeway
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	state, err := newState(c)
	if err != nil {
		return nil, err
	}
	s := &Server{
		data:   c.Data,
		config: c,
		clock:  c.Clock,
		state:  state,
		limits: newLimiter(c.Data.RateLimit, c.Clock),
		mux:    http.NewServeMux(),
	}
	s.mux.HandleFunc("GET /authorize", s.showConsent)
	s.mux.HandleFunc("POST /authorize", s.decideConsent)
	s.mux.HandleFunc("GET /authorize.css", s.showStyle)
	s.mux.HandleFunc("POST /oauth/token", s.token)
	s.mux.HandleFunc("GET /oauth/token/accessible-resources", s.accessibleResources)
	s.mux.HandleFunc("GET /.well-known/openid-configuration", s.metadata)
	s.mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.metadata)
	s.confluenceRoutes()
	return s, nil
}

// ServeHTTP serves both hosts of the stand-in.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Disconnect does what a person does under "Connected apps" of her account: it
// ends every refresh and access token that the app holds for her.
func (s *Server) Disconnect(email, clientID string) error { return s.state.disconnect(email, clientID) }

// metadata publishes the endpoints at the hosted names, because that is what
// the hosted document does whatever host is in the request.
func (s *Server) metadata(w http.ResponseWriter, _ *http.Request) {
	wire.JSON(w, http.StatusOK, map[string]any{
		"issuer":                   "https://auth.atlassian.com",
		"authorization_endpoint":   "https://auth.atlassian.com/authorize",
		"token_endpoint":           "https://auth.atlassian.com/oauth/token",
		"response_types_supported": []string{"code"},
		"grant_types_supported":    []string{"authorization_code", "refresh_token"},
	})
}

func (s *Server) app(clientID string) (App, bool) {
	i := slices.IndexFunc(s.data.Apps, func(a App) bool { return a.ClientID == clientID })
	if i < 0 || clientID == "" {
		return App{}, false
	}
	return s.data.Apps[i], true
}

func (s *Server) user(email string) (User, bool) {
	i := slices.IndexFunc(s.data.Users, func(u User) bool { return u.Email == email })
	if i < 0 {
		return User{}, false
	}
	return s.data.Users[i], true
}

func (s *Server) site(cloudID string) (Site, bool) {
	i := slices.IndexFunc(s.data.Sites, func(st Site) bool { return st.CloudID == cloudID })
	if i < 0 {
		return Site{}, false
	}
	return s.data.Sites[i], true
}
