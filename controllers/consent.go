// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers/tokenbinding"
	"github.com/keycardai/keycard-operator/internal/consent"
	"github.com/keycardai/keycard-operator/internal/ratelimit"
)

// ConsentOptions say how people consent.
type ConsentOptions struct {
	// Application registers in the zones the public application that people sign in to, for the page and for
	// kubectl keycard consent.
	Application bool
	// Address is host:port to listen on.
	Address string
	// URL is where browsers reach the page.
	URL string
}

// Validate says what is wrong with the options; the field is named as the flag.
func (o ConsentOptions) Validate() error {
	switch {
	case o.Address == "" && o.URL == "":
		return nil
	case o.Address == "" || o.URL == "":
		return errors.New("--consent-address and --consent-url have to be given together")
	case !o.Application:
		return errors.New("--consent-url needs --consent-application: people sign in to it")
	}
	return checkURL(o.URL)
}

// pageURL is where browsers reach the page; nil when there is none.
func (o ConsentOptions) pageURL() (*url.URL, error) {
	if o.URL == "" {
		return nil, nil //nolint:nilnil // no page is no error
	}
	return url.Parse(strings.TrimSuffix(o.URL, "/"))
}

// redirectURIs are those of the application in the zones; none when there is no application.
func (o ConsentOptions) redirectURIs() ([]string, error) {
	if err := o.Validate(); err != nil || !o.Application {
		return nil, err
	}
	base, err := o.pageURL()
	if err != nil {
		return nil, err
	}
	return consent.RedirectURIs(base), nil
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return errors.New("--consent-url has to be a URL with a host, and without user, query and fragment")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return errors.New("--consent-url has to be https; http is for loopback addresses only")
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// pageLimits are for a page that anybody may open: it reads what it shows from the API server and from a zone, with the
// operator's own clients. A person takes three requests, so a thousand are through in five minutes.
var pageLimits = ratelimit.Limits{PerSecond: 10, Burst: 60, UnderWay: 32, Each: 5 * time.Second}

// setupConsent serves the consent page on every replica: which one a browser reaches is not for us to say. A binding
// goes on as soon as the person is back.
func setupConsent(ctx context.Context, mgr ctrl.Manager, bindings *tokenbinding.Reconciler, o ConsentOptions) error {
	base, err := o.pageURL()
	if err != nil || base == nil {
		return err
	}
	bindings.ConsentURL = base
	informer, err := mgr.GetCache().GetInformer(ctx, &v1alpha1.ConfluenceTokenBinding{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watching what other replicas say: %w", err)
	}
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		UpdateFunc: func(before, now any) {
			if b, ok := tokenbinding.ToldConsented(before, now); ok && leads(mgr) {
				bindings.Consented(ctx, b.Namespace, b.Name)
			}
		},
		DeleteFunc: func(last any) {
			if name, err := toolscache.DeletionHandlingObjectToName(last); err == nil {
				bindings.ForgetReturns(name.Namespace, name.Name)
			}
		},
	}); err != nil {
		return fmt.Errorf("watching what other replicas say: %w", err)
	}
	logger := mgr.GetLogger().WithName("consent")
	consented := func(namespace, name string) {
		if leads(mgr) {
			bindings.Consented(ctx, namespace, name)
			return
		}
		if err := bindings.TellConsented(ctx, namespace, name); err != nil {
			logger.Error(err, "the binding is tried again at its next turn", "namespace", namespace, "name", name)
		}
	}
	return mgr.Add(&manager.Server{
		Name: "consent page",
		Server: &http.Server{
			Addr: o.Address, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
			Handler: ratelimit.Handler(pageLimits, clock.RealClock{}, consent.Handler(consent.Config{
				URL: base, Lookup: bindings.Consent, Consented: consented, Logger: logger,
			})),
		},
	})
}

// leads tells whether this replica is the one that works.
func leads(mgr ctrl.Manager) bool {
	select {
	case <-mgr.Elected():
		return true
	default:
		return false
	}
}
