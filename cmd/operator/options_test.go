// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/leaderelection"

	"github.com/keycardai/keycard-operator/controllers/consent"
)

// A standby looks every retry period, and up to 1.2 of it longer: it may see the last renewal that late, and the end of the
// Lease too.
func TestFailoverIsSoon(t *testing.T) {
	g, o := NewWithT(t), defaultOptions()
	g.Expect(o.validate()).To(Succeed())
	worst := o.leaseDuration + 2*time.Duration(float64(o.retryPeriod)*(1+leaderelection.JitterFactor))
	g.Expect(worst).To(BeNumerically("<", 20*time.Second))
}

func TestConsentOptions(t *testing.T) {
	for name, tt := range map[string]struct {
		consent consent.Options
		want    string
	}{
		"none":           {consent.Options{}, ""},
		"all":            {consent.Options{Address: ":1", URL: "https://consent.example.com/x", Application: true}, ""},
		"loopback":       {consent.Options{Address: ":1", URL: "http://127.0.0.1:1", Application: true}, ""},
		"address only":   {consent.Options{Address: ":1"}, "--consent-address and --consent-url have to be given together"},
		"URL only":       {consent.Options{URL: "https://x", Application: true}, "have to be given together"},
		"no application": {consent.Options{Address: ":1", URL: "https://x"}, "--consent-url needs --consent-application"},
		"no page":        {consent.Options{Application: true}, ""},
		"http":           {consent.Options{Address: ":1", URL: "http://consent.example.com", Application: true}, "--consent-url has to be https; http is for loopback addresses only"},
		"query":          {consent.Options{Address: ":1", URL: "https://x/?a=b", Application: true}, "--consent-url has to be a URL with a host, and without user, query and fragment"},
		"no host":        {consent.Options{Address: ":1", URL: "https:///x", Application: true}, "--consent-url has to be a URL with a host"},
		"another scheme": {consent.Options{Address: ":1", URL: "ftp://x", Application: true}, "--consent-url has to be https"},
	} {
		t.Run(name, func(t *testing.T) {
			o := defaultOptions()
			o.consent = tt.consent
			err := o.validate()
			if tt.want == "" {
				NewWithT(t).Expect(err).NotTo(HaveOccurred())
				return
			}
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(tt.want)))
		})
	}
}

// An empty name would have the operator list all namespaces, which it may not. Without a name it is meant to.
func TestWatchNamespaces(t *testing.T) {
	for arg, bad := range map[string]bool{"": false, "a": false, "a,b": false, "a,": true, ",a": true, "a,,b": true, ",": true} {
		t.Run(arg, func(t *testing.T) {
			g, o := NewWithT(t), defaultOptions()
			f := pflag.NewFlagSet("operator", pflag.ContinueOnError)
			o.addFlags(f)
			g.Expect(f.Parse([]string{"--watch-namespaces=" + arg})).To(Succeed())
			if !bad {
				g.Expect(o.validate()).To(Succeed())
				return
			}
			g.Expect(o.validate()).To(MatchError(ContainSubstring(`--watch-namespaces "` + arg + `" has an empty name`)))
		})
	}
}

// The Kubernetes client logs bodies from a verbosity of 8 on.
func TestVerbosity(t *testing.T) {
	for level, want := range map[int]string{0: "", 7: "", 8: "--verbosity is 8; it has to be from 0 to 7", -1: "--verbosity is -1"} {
		g := NewWithT(t)
		o := defaultOptions()
		o.verbosity = level
		if want == "" {
			g.Expect(o.validate()).To(Succeed())
			continue
		}
		g.Expect(o.validate()).To(MatchError(ContainSubstring(want)))
	}
}
