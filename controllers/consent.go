// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/keycardai/keycard-operator/controllers/tokenbinding"
	"github.com/keycardai/keycard-operator/internal/consent"
)

// ConsentOptions say where the page is on which people consent.
type ConsentOptions struct {
	// Address is host:port to listen on.
	Address string
	// URL is where browsers reach the page.
	URL string
	// ClientID is the public application in the zones that the page signs people in to.
	ClientID string
}

// Validate says what is wrong with the options; the field is named as the flag.
func (o ConsentOptions) Validate() error {
	if o == (ConsentOptions{}) {
		return nil
	}
	if o.Address == "" || o.URL == "" || o.ClientID == "" {
		return errors.New("--consent-address, --consent-url and --consent-client-id have to be given together")
	}
	return checkURL(o.URL)
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

// setupConsent serves the consent page where the operator works, so that a binding goes on as soon as the
// person is back.
func setupConsent(mgr ctrl.Manager, bindings *tokenbinding.Reconciler, o ConsentOptions) error {
	if err := o.Validate(); err != nil || o.Address == "" {
		return err
	}
	base, err := url.Parse(strings.TrimSuffix(o.URL, "/"))
	if err != nil {
		return err
	}
	bindings.ConsentURL = base
	return mgr.Add(&manager.Server{
		Name: "consent page",
		Server: &http.Server{
			Addr: o.Address, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
			Handler: consent.Handler(consent.Config{
				URL: base, ClientID: o.ClientID, Lookup: bindings.Consent, Consented: bindings.Consented,
				Logger: mgr.GetLogger().WithName("consent"),
			}),
		},
		OnlyServeWhenLeader: true,
	})
}
