// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package program

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/keycardai/keycard-operator/test/testenv"
)

// AccountLifetime outlasts a demo that is kept over a day.
const AccountLifetime = 48 * time.Hour

// ApplyShipped installs the kinds and the operator's permissions as they are shipped.
func ApplyShipped(ctx context.Context, cluster *testenv.ControlPlane) error {
	for _, folder := range []string{"config/crd", "config/rbac"} {
		if _, err := cluster.Kubectl(ctx, "apply", "-k", folder); err != nil {
			return err
		}
	}
	return AwaitKinds(ctx, cluster)
}

// AwaitKinds waits until kinds can be used: the operator's, or those of the CRDs it is given as arguments of kubectl.
// kubectl wait fails on a CRD that has no conditions at all yet, so it is asked again.
func AwaitKinds(ctx context.Context, cluster *testenv.ControlPlane, crds ...string) error {
	if len(crds) == 0 {
		crds = []string{"crd/keycardresources.keycard.cloud", "crd/confluencetokenbindings.keycard.cloud"}
	}
	args := append([]string{"wait", "--for=condition=Established", "--timeout=30s"}, crds...)
	var last error
	err := Until(ctx, time.Minute, func(ctx context.Context) (bool, error) {
		_, last = cluster.Kubectl(ctx, args...)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the kinds: %w", cmp.Or(last, err))
	}
	return nil
}

// Operator is the operator's program, which runs as its own ServiceAccount, with the shipped permissions and no others.
type Operator struct {
	*Program
	// MetricsURL and ReadyURL are where it answers; Token is its ServiceAccount's.
	MetricsURL, ReadyURL, Token string
}

// StartOperator starts it for a zone on loopback; flags come on top. It is ready when it says so: see AwaitReady.
func StartOperator(ctx context.Context, cluster *testenv.ControlPlane, path, log, atlassianURL string, flags ...string) (*Operator, error) {
	return StartOperatorIn(ctx, cluster, "keycard-system", path, log, atlassianURL, flags...)
}

// StartOperatorIn starts one that was installed in another namespace than the usual one.
func StartOperatorIn(ctx context.Context, cluster *testenv.ControlPlane, namespace, path, log, atlassianURL string, flags ...string) (*Operator, error) {
	cfg, err := cluster.ServiceAccount(ctx, namespace, "keycard-operator", AccountLifetime)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := cluster.WriteKubeconfig("keycard-operator", cfg)
	if err != nil {
		return nil, err
	}
	probes, err := FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	metrics, err := FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	p, err := Start(path, log, append([]string{
		"--kubeconfig", kubeconfig, "--leader-election-namespace", namespace,
		"--health-probe-bind-address", probes, "--metrics-bind-address", metrics,
		"--shutdown-timeout", (StopTimeout / 2).String(), "--allow-insecure-loopback", "--atlassian-url", atlassianURL,
	}, flags...)...)
	if err != nil {
		return nil, err
	}
	return &Operator{
		Program: p, Token: cfg.BearerToken,
		MetricsURL: "http://" + metrics + "/metrics", ReadyURL: "http://" + probes + "/readyz",
	}, nil
}

// AwaitReady waits until the operator says that it is ready.
func (o *Operator) AwaitReady(ctx context.Context) error {
	if err := Until(ctx, time.Minute, func(ctx context.Context) (bool, error) {
		_, err := Get(ctx, o.ReadyURL)
		return err == nil, nil
	}); err != nil {
		return fmt.Errorf("waiting for the operator to be ready: %w", err)
	}
	return nil
}

// Until polls until check is true.
func Until(ctx context.Context, patience time.Duration, check wait.ConditionWithContextFunc) error {
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, check)
}

// Get gives what a URL on this machine answers, which has to be 200.
func Get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("getting %s: HTTP %d", url, resp.StatusCode)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("getting %s: %w", url, err)
	}
	return string(body), nil
}

var httpClient = &http.Client{Timeout: 5 * time.Second}

// FreeAddress gives an address on loopback at which nobody listens.
func FreeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}
