// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/secretcache"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// follow starts a cache of the Secrets of the world's namespace.
func follow(w *world.World, cfg *rest.Config) *secretcache.Cache {
	w.T.Helper()
	httpClient, err := rest.HTTPClientFor(cfg)
	must.Succeed(w.T, err)
	c, err := secretcache.New(cfg, httpClient, []string{w.NS}, w.Logger())
	must.Succeed(w.T, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Ctx))
	done := make(chan error, 1)
	go func() { done <- c.Start(ctx) }()
	w.T.Cleanup(func() {
		cancel()
		must.Succeed(w.T, <-done)
	})
	return c
}

// The cache of Secrets follows what the server has, and leaves releases of Helm out.
func TestSecretsAreFollowed(t *testing.T) {
	w := world.New(t)
	create := func(kind corev1.SecretType) *corev1.Secret {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, GenerateName: "some-"}, Type: kind}
		must.Succeed(t, w.K8s.Create(w.Ctx, s))
		return s
	}
	release, early := create("helm.sh/release.v1"), create(corev1.SecretTypeOpaque)
	c := follow(w, world.Cluster.Config)
	must.Succeed(t, c.WaitForSync(w.Ctx))
	must.Succeed(t, c.Ready(nil))
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
		w.Eventually(what, func(context.Context) (bool, error) { return version(s) == want, nil })
	}
	until("the new Secret is known", late, late.ResourceVersion)
	late.Labels = map[string]string{"x": "y"}
	must.Succeed(t, w.K8s.Update(w.Ctx, late))
	until("its change is known", late, late.ResourceVersion)
	must.Succeed(t, w.K8s.Delete(w.Ctx, late))
	until("it is forgotten", late, "")
	if got := version(release); got != "" {
		t.Errorf("it has the release in version %s", got)
	}
}

// A cache that may not list says so, and is not ready.
func TestSecretsThatMayNotBeListed(t *testing.T) {
	w := world.New(t)
	cfg := rest.CopyConfig(world.Cluster.Config)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: "nobody"}
	c := follow(w, cfg)
	ctx, cancel := context.WithTimeout(w.Ctx, 500*time.Millisecond)
	defer cancel()
	err := c.WaitForSync(ctx)
	if err == nil || !strings.Contains(err.Error(), "listing the Secrets of namespace "+w.NS+" (check that the operator may list and watch them)") {
		t.Errorf("it waited and said %v", err)
	}
	if err := c.Ready(&http.Request{}); err == nil {
		t.Error("it is ready")
	}
}

// What is done to Secrets while the watch is down, and too long for it to be taken up again, is seen in the list that follows,
// and put right.
func TestSecretsThatChangeWhileTheWatchIsDown(t *testing.T) {
	w := world.New(t, world.RealTime)
	line := world.NewWire(t)
	w.Account = rest.CopyConfig(world.Cluster.Config)
	w.Account.Host = "https://" + line.Address
	var expired atomic.Int32
	w.Account.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return world.RoundTripper(func(r *http.Request) (*http.Response, error) {
			q := r.URL.Query()
			if strings.HasSuffix(r.URL.Path, "/secrets") && q.Get("watch") != "" && q.Get("sendInitialEvents") != "true" && expired.Load() > 0 {
				expired.Add(1)
				return world.ClusterAnswer(http.StatusGone, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`)(r)
			}
			answer, err := next.RoundTrip(r)
			if err == nil && expired.Load() > 1 && strings.HasSuffix(r.URL.Path, "/secrets") {
				expired.Store(0) // it is listed anew
			}
			return answer, err
		})
	})
	resource := w.Install()
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	w.StartOperator()
	w.UntilReady(resource)
	edited, deleted, relabelled := w.Binding("edited"), w.Binding("deleted"), w.Binding("relabelled")
	before := map[string]*corev1.Secret{}
	for _, b := range []*v1alpha1.ConfluenceTokenBinding{edited, deleted, relabelled} {
		must.Succeed(t, w.K8s.Create(w.Ctx, b))
		w.UntilReady(b)
		before[b.Name] = w.Output(b)
	}
	w.Requests.Take()
	line.Cut()
	expired.Store(1)
	s := w.Output(edited)
	s.Data["token"] = []byte("tampered")
	must.Succeed(t, w.K8s.Update(w.Ctx, s))
	must.Succeed(t, w.K8s.Delete(w.Ctx, w.Output(deleted)))
	s = w.Output(relabelled)
	s.Labels, s.OwnerReferences = nil, nil
	must.Succeed(t, w.K8s.Update(w.Ctx, s))
	line.Mend()
	for _, b := range []*v1alpha1.ConfluenceTokenBinding{edited, deleted, relabelled} {
		w.Eventually("the Secret of "+b.Name+" is put right", func(ctx context.Context) (bool, error) {
			var s corev1.Secret
			err := w.K8s.Get(ctx, client.ObjectKeyFromObject(before[b.Name]), &s)
			return err == nil && s.Labels[v1alpha1.ManagedByLabel] != "" && metav1.IsControlledBy(&s, b) &&
				bytes.Equal(s.Data["token"], before[b.Name].Data["token"]) == (b == relabelled) && string(s.Data["token"]) != "tampered", client.IgnoreNotFound(err)
		})
	}
	if expired.Load() != 0 {
		t.Errorf("the watch was taken up, and nothing was listed anew (%d)", expired.Load())
	}
	if n := w.Requests.Count(world.Exchanges); n != 2 {
		t.Errorf("%d exchanges, want those of the edited and the deleted one", n)
	}
}

// A replica is not ready before it has listed the Secrets.
func TestReadinessWaitsForSecrets(t *testing.T) {
	w := world.New(t)
	released := make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	kubeconfig := holdSecrets(w, released)
	t.Cleanup(release)
	listener, err := new(net.ListenConfig).Listen(w.Ctx, "tcp", "127.0.0.1:0")
	must.Succeed(t, err)
	address := listener.Addr().String()
	must.Succeed(t, listener.Close())
	startProgram(w, buildOperator(t, "test"), kubeconfig, address)
	get := func(path string) (status int, body string) {
		req, err := http.NewRequestWithContext(w.Ctx, http.MethodGet, "http://"+address+path, nil)
		must.Succeed(t, err)
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err.Error() // it does not listen yet
		}
		defer func() { _ = answer.Body.Close() }()
		raw, err := io.ReadAll(answer.Body)
		must.Succeed(t, err)
		return answer.StatusCode, string(raw)
	}
	w.Eventually("all but the Secrets is there", func(context.Context) (bool, error) {
		status, _ := get("/readyz/caches")
		return status == http.StatusOK, nil
	})
	if status, body := get("/readyz?verbose"); status != http.StatusInternalServerError || !strings.Contains(body, "[-]secrets failed") {
		t.Errorf("without the Secrets it answers %d %s", status, body)
	}
	release()
	w.Eventually("it is ready", func(context.Context) (bool, error) {
		status, body := get("/readyz?verbose")
		return status == http.StatusOK && strings.Contains(body, "[+]secrets ok"), nil
	})
}

// holdSecrets stands before the API server and lets nobody list or watch Secrets before the release. It gives a kubeconfig.
func holdSecrets(w *world.World, released <-chan struct{}) (kubeconfig string) {
	w.T.Helper()
	transport, err := rest.TransportFor(world.Cluster.Config)
	must.Succeed(w.T, err)
	target, _, err := rest.DefaultServerUrlFor(world.Cluster.Config)
	must.Succeed(w.T, err)
	proxy := &httputil.ReverseProxy{
		Transport: transport, ErrorLog: log.New(io.Discard, "", 0), // of watches that end
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/secrets") {
			select {
			case <-released:
			case <-r.Context().Done():
				return
			}
		}
		proxy.ServeHTTP(rw, r)
	}))
	w.T.Cleanup(server.Close)
	cfg := &rest.Config{Host: server.URL}
	cfg.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	kubeconfig, err = world.Cluster.WriteKubeconfig(w.NS, cfg)
	must.Succeed(w.T, err)
	return kubeconfig
}
