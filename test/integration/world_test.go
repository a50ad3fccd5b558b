// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers/keycardresource"
	"github.com/keycardai/keycard-operator/controllers/rollout"
	"github.com/keycardai/keycard-operator/controllers/tokenbinding"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/internal/atlassian"
	"github.com/keycardai/keycard-operator/internal/catalog"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/retryafter"
	"github.com/keycardai/keycard-operator/internal/throttle"
)

// The credentials of the default seed. They serve as canaries too: none may be seen outside its Secret.
const (
	operatorSecret  = "dev-only-operator-secret"
	atlassianSecret = "dev-only-atlassian-secret"
	reportsSecret   = "dev-only-reports-password"
	user            = "alice@example.com"
	site            = "https://acme.atlassian.net"
	clusterID       = "test-cluster"
	clusterIssuer   = "https://kubernetes.example"
)

// world is a namespace, a zone, and reconcilers that are driven by hand.
type world struct {
	t     *testing.T
	ctx   context.Context
	ns    string
	zone  *devzone.Running
	clock *clocktesting.FakeClock
	k8s   client.Client

	// requests counts what was asked of the zone, and lets tests answer in its place.
	requests *recorder
	// writes counts what was written to the cluster.
	writes *recorder
	events *events
	logs   *syncBuffer
	// account is who the reconcilers are in the cluster; nil: the administrator.
	account *rest.Config

	resources *keycardresource.Reconciler
	bindings  *tokenbinding.Reconciler
	rollouts  *rollout.Controller
}

// newWorld starts a zone whose clock stands still, and makes a namespace with the Secrets that a user
// would write.
func newWorld(t *testing.T, change ...func(*devzone.Config)) *world {
	t.Helper()
	w := &world{
		t: t, clock: clocktesting.NewFakeClock(time.Now().Truncate(time.Second)),
		requests: &recorder{}, writes: &recorder{}, events: &events{}, logs: &syncBuffer{},
	}
	w.ctx = logr.NewContext(t.Context(), w.logger())
	w.startZone(change...)
	w.connect()
	w.makeNamespace()
	return w
}

func (w *world) startZone(change ...func(*devzone.Config)) {
	cfg := devzone.Config{
		Clock: w.clock.Now, UpstreamTokenLifetime: time.Hour,
		ZoneMiddleware: w.requests.middleware("zone"), APIMiddleware: w.requests.middleware("api"), AtlassianMiddleware: w.requests.middleware("atlassian"),
	}
	for _, c := range change {
		c(&cfg)
	}
	zone, err := devzone.Start(context.WithoutCancel(w.ctx), cfg)
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, zone.Close()) })
	w.zone = zone
}

// connect makes the reconcilers: anew, as after a restart, with nothing remembered.
func (w *world) connect() {
	w.k8s = w.client(cluster.Config)
	c := w.k8s
	if w.account != nil {
		c = w.client(w.account)
	}
	entries, err := catalog.Load()
	must(w.t, err)
	pool := keycard.NewPool(keycard.Options{AllowInsecureLoopback: true, Now: w.clock.Now, Timeout: 5 * time.Second, ResponseHeaderTimeout: time.Second})
	w.resources = &keycardresource.Reconciler{
		Client: c, Live: c, Zones: pool, Catalog: entries, ClusterID: clusterID, Recorder: w.events, Clock: w.clock,
		CheckEvery: 10 * time.Minute, ClusterIssuer: func(context.Context) (string, error) { return clusterIssuer, nil },
	}
	w.bindings = &tokenbinding.Reconciler{
		Client: c, Live: c, Zones: pool, Catalog: entries, Atlassian: atlassian.NewClient(pool, w.zone.AtlassianURL),
		Recorder: w.events, Clock: w.clock, Gates: throttle.New(8, w.clock), LookUps: throttle.New(8, w.clock), Metrics: tokenbinding.NewMetrics(),
	}
	w.rollouts = rollout.New(c, w.events, w.clock, false)
}

// client makes a client whose writes are counted.
func (w *world) client(cfg *rest.Config) client.Client {
	cfg = rest.CopyConfig(cfg)
	cfg.Wrap(w.writes.transport)
	cfg.Wrap(retryafter.Transport)
	c, err := client.New(cfg, client.Options{Scheme: scheme(w.t)})
	must(w.t, err)
	return c
}

// shippedAccount makes the reconcilers the operator's own ServiceAccount, with the permissions as they are shipped.
func (w *world) shippedAccount() {
	w.t.Helper()
	_, err := cluster.Kubectl(w.ctx, "apply", "-k", "../../config/rbac")
	must(w.t, err)
	w.account, err = cluster.ServiceAccount(w.ctx, "keycard-system", "keycard-operator", time.Hour)
	must(w.t, err)
	w.readWithoutCache()
	w.connect()
}

// readWithoutCache permits the reads that the operator makes of its cache, and reconcilers that are driven by hand make of the
// server.
func (w *world) readWithoutCache() {
	w.t.Helper()
	const name = "reads-without-cache"
	meta := metav1.ObjectMeta{Name: name}
	for _, o := range []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"keycardresources", "confluencetokenbindings"}, Verbs: []string{"get"}},
			{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Verbs: []string{"get"}},
		}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "keycard-system", Name: "keycard-operator"}},
		},
	} {
		must(w.t, client.IgnoreAlreadyExists(w.k8s.Create(w.ctx, o)))
	}
}

func (w *world) makeNamespace() {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "world-"}}
	must(w.t, w.k8s.Create(w.ctx, ns))
	w.ns = ns.Name
	w.secret("service-account", "operator", operatorSecret)
	w.secret("oauth-app", "atlassian-app", atlassianSecret)
	w.secret("reports-app", "reports", reportsSecret)
}

func (w *world) secret(name, id, secret string) {
	w.t.Helper()
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name},
		Data:       map[string][]byte{v1alpha1.ClientIDKey: []byte(id), v1alpha1.ClientSecretKey: []byte(secret)},
	}
	must(w.t, w.k8s.Create(w.ctx, s))
}

// install is a KeycardResource for the world's zone; it is not created yet.
func (w *world) install() *v1alpha1.KeycardResource {
	return &v1alpha1.KeycardResource{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "confluence"},
		Spec: v1alpha1.KeycardResourceSpec{
			Zone: v1alpha1.ZoneReference{
				ID: w.zone.ZoneID, Issuer: w.zone.Issuer, APIURL: w.zone.APIURL,
				ServiceAccountSecretRef: v1alpha1.LocalSecretReference{Name: "service-account"},
			},
			CatalogEntry:      "confluence",
			OAuthAppSecretRef: v1alpha1.LocalSecretReference{Name: "oauth-app"},
		},
	}
}

// binding is a ConfluenceTokenBinding of the install; it is not created yet.
func (w *world) binding(name string) *v1alpha1.ConfluenceTokenBinding {
	return &v1alpha1.ConfluenceTokenBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name},
		Spec: v1alpha1.ConfluenceTokenBindingSpec{
			ResourceRef: v1alpha1.KeycardResourceReference{Name: "confluence"},
			Application: v1alpha1.Application{ClientSecretRef: &v1alpha1.LocalSecretReference{Name: "reports-app"}},
			Subject:     v1alpha1.Subject{User: user},
			Scopes:      []v1alpha1.Scope{"read:confluence-content.all"},
			Secret:      v1alpha1.OutputSecret{Name: name + "-token"},
		},
	}
}

// ready makes an install and a binding, and reconciles both until they are Ready.
func (w *world) ready() (*v1alpha1.KeycardResource, *v1alpha1.ConfluenceTokenBinding) {
	w.t.Helper()
	resource, binding := w.install(), w.binding("reports")
	must(w.t, w.k8s.Create(w.ctx, resource))
	must(w.t, w.k8s.Create(w.ctx, binding))
	w.reconcileResource(resource)
	w.expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	return resource, binding
}

// reconcileResource takes one step, and reads the object again.
func (w *world) reconcileResource(r *v1alpha1.KeycardResource) ctrl.Result {
	w.t.Helper()
	result, err := w.resources.Reconcile(w.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(r)})
	must(w.t, err)
	must(w.t, client.IgnoreNotFound(w.k8s.Get(w.ctx, client.ObjectKeyFromObject(r), r)))
	return result
}

// reconcileBinding takes one step with the token and one with the workloads, and reads the object again.
func (w *world) reconcileBinding(b *v1alpha1.ConfluenceTokenBinding) ctrl.Result {
	w.t.Helper()
	result, err := w.stepBinding(b)
	must(w.t, err)
	must(w.t, client.IgnoreNotFound(w.k8s.Get(w.ctx, client.ObjectKeyFromObject(b), b)))
	return result
}

// stepBinding takes one step with the token and one with the workloads, even where the first fails.
func (w *world) stepBinding(b *v1alpha1.ConfluenceTokenBinding) (ctrl.Result, error) {
	req := ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b)}
	result, err := w.bindings.Reconcile(w.ctx, req)
	restart, restartErr := w.rollouts.Reconcile(w.ctx, req)
	if restart.RequeueAfter > 0 && (result.RequeueAfter == 0 || restart.RequeueAfter < result.RequeueAfter) {
		result.RequeueAfter = restart.RequeueAfter
	}
	return result, errors.Join(err, restartErr)
}

// output reads the Secret that a binding writes.
func (w *world) output(b *v1alpha1.ConfluenceTokenBinding) *corev1.Secret {
	w.t.Helper()
	var s corev1.Secret
	must(w.t, w.k8s.Get(w.ctx, client.ObjectKey{Namespace: b.Namespace, Name: b.Spec.Secret.Name}, &s))
	return &s
}

// expect checks one condition of an object that was just read, and gives its message.
func (w *world) expect(o client.Object, conditionType string, status metav1.ConditionStatus, reason string) string {
	w.t.Helper()
	list := conditionsOf(o)
	c := meta.FindStatusCondition(list, conditionType)
	if c == nil {
		w.t.Fatalf("condition %s is absent; there are %s", conditionType, describe(list))
	}
	if c.Status != status || c.Reason != reason {
		w.t.Fatalf("condition %s is %s %s (%s), want %s %s; all: %s", conditionType, c.Status, c.Reason, c.Message, status, reason, describe(list))
	}
	if c.ObservedGeneration != o.GetGeneration() {
		w.t.Errorf("condition %s speaks of generation %d, the object has %d", conditionType, c.ObservedGeneration, o.GetGeneration())
	}
	return c.Message
}

func (w *world) absent(o client.Object, conditionTypes ...string) {
	w.t.Helper()
	for _, conditionType := range conditionTypes {
		if c := meta.FindStatusCondition(conditionsOf(o), conditionType); c != nil {
			w.t.Errorf("condition %s is there: %s %s", conditionType, c.Status, c.Reason)
		}
	}
}

func conditionsOf(o client.Object) []metav1.Condition {
	switch o := o.(type) {
	case *v1alpha1.KeycardResource:
		return o.Status.Conditions
	case *v1alpha1.ConfluenceTokenBinding:
		return o.Status.Conditions
	}
	return nil
}

func describe(list []metav1.Condition) string {
	var b strings.Builder
	for _, c := range list {
		fmt.Fprintf(&b, "\n  %s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message)
	}
	return b.String()
}

// logger is as talkative as the operator's program may be.
func (w *world) logger() logr.Logger {
	return funcr.New(func(prefix, args string) { _, _ = fmt.Fprintln(w.logs, prefix, args) }, funcr.Options{Verbosity: 7})
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	must(t, clientgoscheme.AddToScheme(s))
	must(t, v1alpha1.AddToScheme(s))
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// recorder counts requests by what they do, and can answer in the server's place.
type recorder struct {
	mu    sync.Mutex
	seen  []string
	fault func(what string, w http.ResponseWriter, r *http.Request) bool
	// after runs when a request was served and its answer is not yet sent.
	after func(what string)
	// lose is a part of the requests that are served while their answers are lost.
	lose string
	// dying, when set, is asked about each request: it may be dropped, or served while its answer is lost.
	dying func(what string) (dropped, lost bool)
	// instead, when set, may answer a request to the cluster; it passes those on to which it gives neither.
	instead func(r *http.Request) (*http.Response, error)
}

// middleware records requests as "surface METHOD /path grant".
func (rec *recorder) middleware(surface string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			what := surface + " " + r.Method + " " + r.URL.Path
			rec.mu.Lock()
			rec.seen = append(rec.seen, what)
			fault, after, lose := rec.fault, rec.after, rec.lose
			dropped, lost := rec.dies(what)
			rec.mu.Unlock()
			if dropped {
				panic(http.ErrAbortHandler)
			}
			if lost {
				lose = what
			}
			if lose != "" && strings.Contains(what, lose) {
				next.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler) // which closes the connection
			}
			if fault != nil && fault(what, w, r) {
				return
			}
			if after == nil {
				next.ServeHTTP(w, r)
				return
			}
			held := httptest.NewRecorder()
			next.ServeHTTP(held, r)
			after(what)
			maps.Copy(w.Header(), held.Header())
			w.WriteHeader(held.Code)
			_, _ = w.Write(held.Body.Bytes())
		})
	}
}

// transport records writes to the cluster as "METHOD /path".
func (rec *recorder) transport(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		rec.mu.Lock()
		if r.Method != http.MethodGet {
			rec.seen = append(rec.seen, r.Method+" "+r.URL.Path)
		}
		dropped, lost := rec.dies("cluster " + r.Method + " " + r.URL.Path + "?" + r.URL.RawQuery)
		instead := rec.instead
		rec.mu.Unlock()
		if instead != nil {
			if answer, err := instead(r); answer != nil || err != nil {
				return answer, err
			}
		}
		if dropped {
			return nil, errDead
		}
		answer, err := next.RoundTrip(r)
		if lost && err == nil {
			_ = answer.Body.Close()
			return nil, errDead
		}
		return answer, err
	})
}

var errDead = errors.New("the process is dead")

func (rec *recorder) dies(what string) (dropped, lost bool) {
	if rec.dying == nil {
		return false, false
	}
	return rec.dying(what)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// afterwards has f called when a request was served and its answer is not yet sent.
func (rec *recorder) afterwards(f func(what string)) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.after = f
}

// answer makes the recorder answer requests that contain what, until the returned function is called.
func (rec *recorder) answer(what string, handler http.HandlerFunc) (undo func()) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.fault = func(seen string, w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(seen, what) {
			return false
		}
		handler(w, r)
		return true
	}
	return func() {
		rec.mu.Lock()
		defer rec.mu.Unlock()
		rec.fault = nil
	}
}

// writeJSON answers 200.
func writeJSON(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, body)
}

// take gives what was recorded since the last call.
func (rec *recorder) take() []string {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	seen := rec.seen
	rec.seen = nil
	return seen
}

// count gives how many of the recorded requests contain what, without forgetting them.
func (rec *recorder) count(what string) int {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	n := 0
	for _, s := range rec.seen {
		if strings.Contains(s, what) {
			n++
		}
	}
	return n
}

// exchanges is the path of the token endpoint.
const exchanges = "zone POST /oauth/2/token"

// events keeps what was recorded.
type events struct {
	mu   sync.Mutex
	list []string
}

func (e *events) Eventf(_, _ runtime.Object, eventType, reason, action, note string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, fmt.Sprintf("%s %s %s %s", eventType, reason, action, fmt.Sprintf(note, args...)))
}

func (e *events) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.list
	e.list = nil
	return list
}

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*syncBuffer)(nil)

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
