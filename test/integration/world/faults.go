// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/test/must"
)

// ClusterAnswer is an answer of the API server.
func ClusterAnswer(status int, body string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/json"}}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{
			Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
		}, nil
	}
}

// WithoutPermission makes the operator somebody who may do all but what is not among the given rules.
func (w *World) WithoutPermission() func() { return w.MayOnly(rbacv1.PolicyRule{}) }

// MayOnly makes the operator somebody who may read everything in the namespace, and write the kinds' status and what rule says;
// undone, it may write Secrets and request tokens too.
func (w *World) MayOnly(rule rbacv1.PolicyRule) func() {
	w.T.Helper()
	const name = "poor-operator"
	everyday := []rbacv1.PolicyRule{
		{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"*"}, Verbs: []string{"*"}},
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: name}, Rules: everyday}
	if len(rule.Verbs) > 0 {
		role.Rules = append(role.Rules, rule)
	}
	must.Succeed(w.T, w.K8s.Create(w.Ctx, role))
	must.Succeed(w.T, w.K8s.Create(w.Ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: w.NS + "-operator"}},
	}))
	cfg := rest.CopyConfig(Cluster.Config)
	cfg.Impersonate.UserName = w.NS + "-operator"
	poor := w.Client(cfg)
	w.Cached.Client, w.Live.Reader = poor, poor
	secrets := &corev1.SecretList{}
	w.Eventually("the role is known", func(ctx context.Context) (bool, error) {
		return poor.List(ctx, secrets, client.InNamespace(w.NS)) == nil, nil
	})
	return func() {
		role.Rules = append(slices.Clone(everyday),
			rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create", "patch"}},
			rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, Verbs: []string{"create"}})
		must.Succeed(w.T, w.K8s.Update(w.Ctx, role))
		w.Eventually("the new role is known", func(ctx context.Context) (bool, error) {
			probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, GenerateName: "probe-"}}
			return !apierrors.IsForbidden(poor.Create(ctx, probe, client.DryRunAll)), nil
		})
	}
}

// Wire passes connections on to the API server until it is cut.
type Wire struct {
	t       *testing.T
	Address string

	mu       sync.Mutex
	listener net.Listener
	open     []net.Conn
}

// NewWire listens on loopback; it is cut at the end of the test.
func NewWire(t *testing.T) *Wire {
	t.Helper()
	w := &Wire{t: t, Address: "127.0.0.1:0"}
	w.Mend()
	t.Cleanup(w.Cut)
	return w
}

// Mend listens, at the same address as before.
func (w *Wire) Mend() {
	w.t.Helper()
	listener, err := new(net.ListenConfig).Listen(w.t.Context(), "tcp", w.Address)
	must.Succeed(w.t, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listener, w.Address = listener, listener.Addr().String()
	go w.serve(listener)
}

func (w *Wire) serve(listener net.Listener) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return // it was cut
		}
		far, err := new(net.Dialer).DialContext(w.t.Context(), "tcp", strings.Trim(strings.TrimPrefix(Cluster.Config.Host, "https:"), "/"))
		if err != nil {
			w.t.Log("the wire finds no API server:", err)
			_ = near.Close()
			continue
		}
		w.mu.Lock()
		w.open = append(w.open, near, far)
		w.mu.Unlock()
		for _, c := range [][2]net.Conn{{near, far}, {far, near}} {
			go func() {
				_, _ = io.Copy(c[0], c[1])
				_ = c[0].Close()
			}()
		}
	}
}

// Cut ends all connections, and refuses new ones.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.listener.Close()
	for _, c := range w.open {
		_ = c.Close()
	}
	w.open = nil
}

// Truncates ends an answer in its midst.
func Truncates(w http.ResponseWriter, _ *http.Request, _ string) {
	w.Header().Set("Content-Length", "1000")
	WriteJSON(w, `{"id":"x","items":[`)
}

// Resets closes the connection with a RST.
func Resets(w http.ResponseWriter, _ *http.Request, _ string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// Intercept puts functions before the client of the bindings' reconciler, as before a cache.
func (w *World) Intercept(funcs interceptor.Funcs) {
	w.T.Helper()
	base, err := client.NewWithWatch(Cluster.Config, client.Options{Scheme: Scheme(w.T)})
	must.Succeed(w.T, err)
	w.Cached.Client = interceptor.NewClient(base, funcs)
}

// Hide has the cache not show a Secret yet, until the returned function is called.
func (w *World) Hide(name string) (show func()) {
	hidden := true
	w.Intercept(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if hidden && key.Name == name {
				return apierrors.NewNotFound(corev1.Resource("secrets"), name)
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
	return func() { hidden = false }
}

// What Atlassian answers.
const (
	JSONType = "application/json"
	OKSite   = `[{"id":"1","url":"` + Site + `","scopes":["search:confluence"]}]`
	// OddSites are entries none of which can be used.
	OddSites = `[null,{},{"id":"../x","url":"https://a.atlassian.net","scopes":["search:confluence"]},{"id":"2","url":"http://b.atlassian.net","scopes":["search:confluence"]},
		{"id":"3","url":"https://c.atlassian.net","scopes":["read:jira-work"]},{"id":"4","url":"https://d.atlassian.net/\u0007","scopes":["search:confluence"]},{"id":"5","url":"https://e.atlassian.net","scopes":null}]`
)

// Workload makes an install that registers workloads, a ServiceAccount, and a binding that calls as it; neither has a token yet.
// The zone goes by the real time, as the cluster does that issues the ServiceAccount's tokens.
func Workload(t *testing.T, change ...func(*devzone.Config)) (*World, *v1alpha1.ConfluenceTokenBinding) {
	t.Helper()
	w := New(t, append([]func(*devzone.Config){RealTime}, change...)...)
	resource, binding := w.Install(), w.Binding("reports")
	resource.Spec.WorkloadRegistration = &v1alpha1.WorkloadRegistration{Issuer: realIssuer(t), JWKSURI: ClusterKeys(t)}
	resource.Spec.Policies = []v1alpha1.AccessPolicy{w.MayActForAlice("wiki")}
	binding.Spec.Application = v1alpha1.Application{ServiceAccountName: "wiki"}
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	return w, binding
}

// realIssuer is the issuer of the cluster's ServiceAccount tokens.
func realIssuer(t *testing.T) string {
	t.Helper()
	k, err := kubernetes.NewForConfig(Cluster.Config)
	must.Succeed(t, err)
	raw, err := k.Discovery().RESTClient().Get().AbsPath("/.well-known/openid-configuration").DoRaw(t.Context())
	must.Succeed(t, err)
	var document struct {
		Issuer string `json:"issuer"`
	}
	must.Succeed(t, json.Unmarshal(raw, &document))
	return document.Issuer
}

// Wiki is the workload's ServiceAccount.
func (w *World) Wiki() *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: "wiki"}}
}
