// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/internal/secretcache"
)

// follow starts a cache of the Secrets of the world's namespace.
func (w *world) follow(cfg *rest.Config) *secretcache.Cache {
	w.t.Helper()
	httpClient, err := rest.HTTPClientFor(cfg)
	must(w.t, err)
	c, err := secretcache.New(cfg, httpClient, []string{w.ns}, w.logger())
	must(w.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.ctx))
	done := make(chan error, 1)
	go func() { done <- c.Start(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		must(w.t, <-done)
	})
	return c
}

// The cache of Secrets follows what the server has, and leaves releases of Helm out.
func TestSecretsAreFollowed(t *testing.T) {
	w := newWorld(t)
	create := func(kind corev1.SecretType) *corev1.Secret {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, GenerateName: "some-"}, Type: kind}
		must(t, w.k8s.Create(w.ctx, s))
		return s
	}
	release, early := create("helm.sh/release.v1"), create(corev1.SecretTypeOpaque)
	c := w.follow(cluster.Config)
	must(t, c.WaitForSync(w.ctx))
	must(t, c.Ready(nil))
	late := create(corev1.SecretTypeOpaque)
	version := func(s *corev1.Secret) string {
		m, ok := c.Get(client.ObjectKeyFromObject(s))
		if !ok {
			return ""
		}
		return m.ResourceVersion
	}
	if got := version(early); got != early.ResourceVersion {
		t.Errorf("of the Secret that was there it has version %q", got)
	}
	until := func(what string, s *corev1.Secret, want string) {
		t.Helper()
		w.eventually(what, func(context.Context) (bool, error) { return version(s) == want, nil })
	}
	until("the new Secret is known", late, late.ResourceVersion)
	late.Labels = map[string]string{"x": "y"}
	must(t, w.k8s.Update(w.ctx, late))
	until("its change is known", late, late.ResourceVersion)
	must(t, w.k8s.Delete(w.ctx, late))
	until("it is forgotten", late, "")
	if got := version(release); got != "" {
		t.Errorf("it has the release in version %s", got)
	}
}

// A cache that may not list says so, and is not ready.
func TestSecretsThatMayNotBeListed(t *testing.T) {
	w := newWorld(t)
	cfg := rest.CopyConfig(cluster.Config)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: "nobody"}
	c := w.follow(cfg)
	ctx, cancel := context.WithTimeout(w.ctx, 500*time.Millisecond)
	defer cancel()
	err := c.WaitForSync(ctx)
	if err == nil || !strings.Contains(err.Error(), "listing the Secrets of namespace "+w.ns+" (check that the operator may list and watch them)") {
		t.Errorf("it waited and said %v", err)
	}
	if err := c.Ready(&http.Request{}); err == nil {
		t.Error("it is ready")
	}
}
