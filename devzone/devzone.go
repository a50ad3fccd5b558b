// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keycardai/keycard-operator/devzone/atlassian"
	"github.com/keycardai/keycard-operator/devzone/audit"
	"github.com/keycardai/keycard-operator/devzone/broker"
	"github.com/keycardai/keycard-operator/devzone/faults"
	"github.com/keycardai/keycard-operator/devzone/issuer"
	"github.com/keycardai/keycard-operator/devzone/localtls"
	"github.com/keycardai/keycard-operator/devzone/management"
	"github.com/keycardai/keycard-operator/devzone/oauth"
	"github.com/keycardai/keycard-operator/devzone/policy"
	"github.com/keycardai/keycard-operator/devzone/signin"
	"github.com/keycardai/keycard-operator/devzone/store"
)

// shutdownTimeout is how long requests may take to end when the server stops.
const shutdownTimeout = 3 * time.Second

// Running is a started server.
type Running struct {
	// Issuer is the default zone's issuer.
	Issuer string
	// ZoneID is the default zone's id.
	ZoneID string
	// ZoneURL, APIURL and AtlassianURL are the base URLs of the listeners,
	// without a trailing slash. ZoneURL equals Issuer unless an issuer was
	// configured.
	ZoneURL, APIURL, AtlassianURL string
	// AdminURL is where faults are administered.
	AdminURL string
	// Faults make the surfaces answer wrongly.
	Faults *faults.Set
	// CA is the certificate in PEM that clients have to trust; nil without TLS.
	CA []byte
	// Atlassian is the stand-in, for what its API does not offer, such as a
	// person who disconnects the app.
	Atlassian *atlassian.Server

	data     *data
	servers  []*http.Server
	client   *http.Client
	serving  errgroup.Group
	cancel   context.CancelFunc
	closing  sync.Once
	closeErr error
}

// Start starts the listeners. The server stops when the context is
// cancelled or Close is called.
func Start(ctx context.Context, c Config) (*Running, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidConfig, err)
	}
	d, err := openData(c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidConfig, err)
	}
	l, err := listen(ctx, c)
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	r, err := assemble(c, l, d)
	if err != nil {
		l.close()
		_ = d.close()
		return nil, fmt.Errorf("%w: %w", ErrInvalidConfig, err)
	}
	ctx, r.cancel = context.WithCancel(ctx)
	for i, server := range r.servers {
		r.serving.Go(func() error {
			// Without one of the listeners the others are of no use.
			defer r.cancel()
			if err := l.serve(server, i); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serving %s: %w", l.url(i), err)
			}
			return nil
		})
	}
	context.AfterFunc(ctx, func() { _ = r.Close() })
	r.serving.Go(func() error { return d.watch(ctx, r.cancel) })
	return r, nil
}

// listeners are the sockets of zone, API, stand-in and administration, in this
// order.
type listeners struct {
	sockets [4]net.Listener
	// tls is nil for plain HTTP.
	tls *localtls.Authority
}

func listen(ctx context.Context, c Config) (*listeners, error) {
	l := &listeners{}
	var err error
	if c.TLSDir != "" {
		if l.tls, err = localtls.Open(c.TLSDir, c.names(), c.Clock()); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalidConfig, err)
		}
	}
	for i, address := range []string{c.ZoneAddress, c.APIAddress, c.AtlassianAddress, c.AdminAddress} {
		if l.sockets[i], err = new(net.ListenConfig).Listen(ctx, "tcp", address); err != nil {
			l.close()
			return nil, fmt.Errorf("listening on %s: %w", address, err)
		}
	}
	return l, nil
}

func (l *listeners) close() {
	for _, socket := range l.sockets {
		if socket != nil {
			_ = socket.Close()
		}
	}
}

// serve serves on one of the sockets.
func (l *listeners) serve(server *http.Server, i int) error {
	if l.tls == nil {
		return server.Serve(l.sockets[i])
	}
	server.TLSConfig = l.tls.ServerConfig()
	return server.ServeTLS(l.sockets[i], "", "")
}

// url is the base URL of a listener. A wildcard address is reached by loopback.
func (l *listeners) url(i int) string {
	address := l.sockets[i].Addr().(*net.TCPAddr)
	host := address.IP.String()
	if address.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http://"
	if l.tls != nil {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, fmt.Sprint(address.Port))
}

// trust is what the zone's own requests trust: what the configuration says, or
// else the system's CAs, and in either case its own.
func (l *listeners) trust(configured *x509.CertPool) (*x509.CertPool, error) {
	if l.tls == nil {
		return configured, nil
	}
	if configured == nil {
		var err error
		if configured, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("reading the system's CAs: %w", err)
		}
	}
	pool := configured.Clone()
	l.tls.AddTo(pool)
	return pool, nil
}

// assemble builds the three surfaces for the addresses that were given.
func assemble(c Config, l *listeners, d *data) (*Running, error) {
	r := &Running{data: d, ZoneID: d.seed.Zone.ID, ZoneURL: l.url(0), APIURL: l.url(1), AtlassianURL: l.url(2), AdminURL: l.url(3), Faults: faults.NewSet()}
	if c.Issuer == "" {
		c.Issuer = r.ZoneURL
	}
	if l.tls != nil {
		r.CA = l.tls.PEM()
	}
	issuers, err := issuer.NewMap(r.ZoneID, c.Issuer)
	if err != nil {
		return nil, err
	}
	r.Issuer = issuers.Of(r.ZoneID)
	content := d.seed.WithIssuer(r.Issuer)
	if err := d.fill(content, issuers); err != nil {
		return nil, err
	}
	objects := d.store
	r.Atlassian, err = atlassian.New(atlassian.Config{
		Data:                content.Atlassian,
		TokenLifetime:       c.UpstreamTokenLifetime,
		RefreshLeeway:       c.RefreshLeeway,
		InvalidateOnRefresh: c.AtlassianRefresh == Invalidate,
		Clock:               c.Clock,
		Disk:                d.disk,
	})
	if err != nil {
		return nil, err
	}
	upstreams := map[string]string{atlassianAuthOrigin: r.AtlassianURL, atlassianAPIOrigin: r.AtlassianURL}
	maps.Copy(upstreams, c.Upstreams)
	trusted, err := l.trust(c.UpstreamCAs)
	if err != nil {
		return nil, err
	}
	if r.client, err = broker.NewClient(upstreams, trusted); err != nil {
		return nil, err
	}
	log := audit.New(objects, c.Clock, c.Logger)
	api := management.New(management.Config{
		Audit: log,
		Store: objects, Issuers: issuers, Clock: c.Clock, Logger: c.Logger,
		OrganizationID: store.OrganizationID, TokenLifetime: defaultLifetime, Strict: c.Strict,
	})
	serve := func(name string, handler http.Handler, middleware func(http.Handler) http.Handler) *http.Server {
		return surface(name, r.Faults.Wrap(name, handler), middleware, c.Logger)
	}
	r.servers = []*http.Server{
		serve(faults.Zone, r.zone(c, objects, issuers, upstreams, log), c.ZoneMiddleware),
		serve(faults.API, api, c.APIMiddleware),
		serve(faults.Atlassian, r.Atlassian, c.AtlassianMiddleware),
		surface("admin", r.Faults.Handler(c.AdminAddress), nil, c.Logger),
	}
	return r, nil
}

// zone is the handler of the zones: the OAuth endpoints and the pages.
func (r *Running) zone(c Config, objects *store.Store, issuers *issuer.Map, upstreams map[string]string, log *audit.Log) http.Handler {
	upstream := broker.New(broker.Config{
		Store: objects, Issuers: issuers, Clock: c.Clock, Client: r.client,
		Mode: c.UpstreamTokens, MinRemaining: c.MinRemaining,
	})
	mux := http.NewServeMux()
	mux.Handle("/", oauth.New(oauth.Config{
		Store: objects, Issuers: issuers, Broker: upstream, Clock: c.Clock,
		Policies:                 &policy.Engine{},
		Client:                   r.client,
		Recorder:                 recorder{log},
		TokenLifetime:            c.ZoneTokenLifetime,
		OmitExpiresIn:            c.OmitExpiresIn,
		UnauthorizedClientDenial: c.UnauthorizedClientDenial,
	}))
	pages := signin.New(signin.Config{
		Store: objects, Issuers: issuers, Broker: upstream, Clock: c.Clock, Logger: c.Logger,
		Client: r.client, Locate: broker.Locate(upstreams), Observe: recorder{log}.observe,
	})
	for _, path := range signin.Paths() {
		mux.Handle(path, pages)
	}
	return mux
}

// Wait returns when every listener has stopped, with what stopped it if that
// was not Close.
func (r *Running) Wait() error {
	return errors.Join(r.serving.Wait(), r.Close())
}

// Close stops the listeners, giving requests under way a few seconds to end
// before they are cut off. It may be called more than once.
func (r *Running) Close() error {
	r.closing.Do(func() {
		r.cancel()
		r.Faults.Stop()
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		var stopping errgroup.Group
		for _, server := range r.servers {
			stopping.Go(func() error {
				if server.Shutdown(ctx) != nil {
					// A request takes too long: cut it off.
					return server.Close()
				}
				return nil
			})
		}
		r.closeErr = errors.Join(stopping.Wait(), r.data.close())
		r.client.CloseIdleConnections()
	})
	return r.closeErr
}
