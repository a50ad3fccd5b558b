// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/controllers/consent"
	"github.com/keycardai/keycard-operator/internal/atlassian"
)

// options are the operator's flags.
type options struct {
	kubeconfig string

	metricsAddress string
	probeAddress   string

	leaderElect          bool
	leaderElectNamespace string
	leaseDuration        time.Duration
	renewDeadline        time.Duration
	retryPeriod          time.Duration

	watchNamespaces    []string
	clusterID          string
	clusterIDNamespace string
	concurrency        int
	clientQPS          float32
	clientBurst        int
	shutdownTimeout    time.Duration

	requestTimeout        time.Duration
	checkEvery            time.Duration
	perObjectMetrics      bool
	allowInsecureLoopback bool
	atlassianURL          string

	consent consent.Options

	verbosity int
}

// maxVerbosity is the last level at which the Kubernetes client logs no bodies, which hold Secrets.
const maxVerbosity = 7

func defaultOptions() *options {
	return &options{
		metricsAddress:     "127.0.0.1:8080",
		probeAddress:       ":8081",
		leaderElect:        true,
		leaseDuration:      12 * time.Second,
		renewDeadline:      8 * time.Second,
		retryPeriod:        1500 * time.Millisecond,
		clusterIDNamespace: metav1.NamespaceSystem,
		concurrency:        10,
		clientQPS:          500,
		clientBurst:        1000,
		shutdownTimeout:    25 * time.Second,
		requestTimeout:     20 * time.Second,
		checkEvery:         10 * time.Minute,
		perObjectMetrics:   true,
		atlassianURL:       atlassian.DefaultURL,
		consent:            consent.Options{Application: true},
	}
}

func (o *options) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.kubeconfig, "kubeconfig", o.kubeconfig, "kubeconfig file; empty means $KUBECONFIG or the pod's own ServiceAccount")
	f.StringVar(&o.metricsAddress, "metrics-bind-address", o.metricsAddress, "address of the Prometheus metrics, without authentication; 0 turns them off")
	f.BoolVar(&o.perObjectMetrics, "per-object-metrics", o.perObjectMetrics, "give each binding a series with the expiry of its token; off where there are very many")
	f.StringVar(&o.probeAddress, "health-probe-bind-address", o.probeAddress, "address of /healthz and /readyz; 0 turns them off")

	f.BoolVar(&o.leaderElect, "leader-elect", o.leaderElect, "work only while holding a Lease, so that several replicas can run")
	f.StringVar(&o.leaderElectNamespace, "leader-election-namespace", o.leaderElectNamespace, "namespace of the Lease; empty means the pod's own")
	f.DurationVar(&o.leaseDuration, "leader-election-lease-duration", o.leaseDuration, "how long a silent leader keeps the Lease")
	f.DurationVar(&o.renewDeadline, "leader-election-renew-deadline", o.renewDeadline, "how long a leader tries to renew the Lease before it stops; less than the lease duration")
	f.DurationVar(&o.retryPeriod, "leader-election-retry-period", o.retryPeriod, "pause between attempts to get or renew the Lease; less than the renew deadline")

	f.StringSliceVar(&o.watchNamespaces, "watch-namespaces", o.watchNamespaces, "namespaces to work in, separated by commas, for an operator with permissions in these only; empty means all")
	f.StringVar(&o.clusterID, "cluster-id", o.clusterID, "name of this cluster in the markers of objects in a zone; empty means the UID of --cluster-id-namespace")
	f.StringVar(&o.clusterIDNamespace, "cluster-id-namespace", o.clusterIDNamespace, "namespace whose UID names this cluster; another one where kube-system may not be read")
	f.IntVar(&o.concurrency, "concurrency", o.concurrency, "how many objects of a kind are reconciled at once")
	f.Float32Var(&o.clientQPS, "client-qps", o.clientQPS, "requests a second to the Kubernetes API, on average and of all kinds together; docs/performance.md says why so many")
	f.IntVar(&o.clientBurst, "client-burst", o.clientBurst, "requests at once to the Kubernetes API, after a while without")
	f.DurationVar(&o.shutdownTimeout, "shutdown-timeout", o.shutdownTimeout, "how long writes in flight may take after SIGTERM; less than the pod's terminationGracePeriodSeconds")

	f.DurationVar(&o.requestTimeout, "request-timeout", o.requestTimeout, "how long a request to a zone or to Atlassian may take")
	f.DurationVar(&o.checkEvery, "check-interval", o.checkEvery, "how often each KeycardResource is compared with its zone, give or take a tenth; at least 10s")
	f.BoolVar(&o.allowInsecureLoopback, "allow-insecure-loopback", o.allowInsecureLoopback, "allow http to zones on a loopback address, for development")
	f.StringVar(&o.atlassianURL, "atlassian-url", o.atlassianURL, "Atlassian's API gateway; another one is for development")

	f.BoolVar(&o.consent.Application, "consent-application", o.consent.Application, "register in each zone, once a binding acts for a person, the public application that she signs in to when she\nconsents on the page or by kubectl keycard consent")
	f.StringVar(&o.consent.Address, "consent-address", o.consent.Address, "address of the page on which people consent; empty means no page")
	f.StringVar(&o.consent.URL, "consent-url", o.consent.URL, "https URL at which browsers reach that page; status.consentURL points there")
	f.IntVarP(&o.verbosity, "verbosity", "v", o.verbosity, "log verbosity: 0 state changes, 1 decisions, 4 debugging; at most 7")
}

// leastCheckEvery keeps an operator from burdening its zones.
const leastCheckEvery = 10 * time.Second

// clusterIDPattern is what can stand in a marker without ambiguity.
var clusterIDPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// validate names every flag whose value makes no sense.
func (o *options) validate() error {
	var errs []error
	complain := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	complain(o.verbosity < 0 || o.verbosity > maxVerbosity,
		"--verbosity is %d; it has to be from 0 to %d, because beyond that the Kubernetes client logs what is in Secrets", o.verbosity, maxVerbosity)
	complain(o.concurrency < 1, "--concurrency is %d; it has to be at least 1", o.concurrency)
	complain(o.clientQPS <= 0, "--client-qps is %g; it has to be more than 0", o.clientQPS)
	complain(o.clientBurst < 1, "--client-burst is %d; it has to be at least 1", o.clientBurst)
	complain(o.requestTimeout <= 0, "--request-timeout is %s; it has to be more than 0", o.requestTimeout)
	complain(o.checkEvery < leastCheckEvery, "--check-interval is %s; it has to be at least %s", o.checkEvery, leastCheckEvery)
	complain(o.shutdownTimeout <= 0, "--shutdown-timeout is %s; it has to be more than 0", o.shutdownTimeout)
	complain(o.leaderElect && (o.retryPeriod <= 0 || o.retryPeriod >= o.renewDeadline || o.renewDeadline >= o.leaseDuration),
		"--leader-election-retry-period %s, -renew-deadline %s and -lease-duration %s have to be in this order, each less than the next",
		o.retryPeriod, o.renewDeadline, o.leaseDuration)
	complain(slices.Contains(o.watchNamespaces, ""), "--watch-namespaces %q has an empty name, which would mean all namespaces; remove the extra comma, or the flag to work in all",
		strings.Join(o.watchNamespaces, ","))
	complain(o.clusterIDNamespace == "" && o.clusterID == "", "--cluster-id-namespace is empty; it has to name a namespace, or --cluster-id has to be set")
	complain(o.clusterID != "" && !clusterIDPattern.MatchString(o.clusterID),
		"--cluster-id %q has to be 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or digit", o.clusterID)
	u, err := url.Parse(o.atlassianURL)
	schemeAllowed := err == nil && (u.Scheme == "https" || u.Scheme == "http" && o.allowInsecureLoopback)
	complain(!schemeAllowed || u.Host == "",
		"--atlassian-url has to be an https URL; http needs --allow-insecure-loopback")
	return errors.Join(append(errs, o.consent.Validate())...)
}
