// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package consent

import (
	"errors"
	"net"
	"net/url"
	"strings"

	consentpage "github.com/keycardai/keycard-operator/internal/consent"
)

// Options say how people consent.
type Options struct {
	// Application registers in the zones the public application that people sign in to, for the page and for
	// kubectl keycard consent.
	Application bool
	// Address is host:port to listen on.
	Address string
	// URL is where browsers reach the page.
	URL string
}

// Validate says what is wrong with the options; the field is named as the flag.
func (o Options) Validate() error {
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

// URLs returns where browsers reach the page, nil when there is none, and the redirect URIs of the application in the zones, none
// when there is no application.
func (o Options) URLs() (page *url.URL, redirectURIs []string, err error) {
	if err := o.Validate(); err != nil || !o.Application {
		return nil, nil, err
	}
	if o.URL != "" {
		if page, err = url.Parse(strings.TrimSuffix(o.URL, "/")); err != nil {
			return nil, nil, err
		}
	}
	return page, consentpage.RedirectURIs(page), nil
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
