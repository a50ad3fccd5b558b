// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers/consent"
	"github.com/keycardai/keycard-operator/controllers/keycardresource"
	"github.com/keycardai/keycard-operator/controllers/rollout"
	"github.com/keycardai/keycard-operator/controllers/tokenbinding"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/internal/atlassian"
	"github.com/keycardai/keycard-operator/internal/catalog"
	"github.com/keycardai/keycard-operator/internal/index"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/retryafter"
	"github.com/keycardai/keycard-operator/internal/site"
	"github.com/keycardai/keycard-operator/internal/target"
	"github.com/keycardai/keycard-operator/internal/throttle"
	"github.com/keycardai/keycard-operator/test/must"
)

// The credentials of the default seed. They serve as canaries too: none may be seen outside its Secret.
const (
	OperatorSecret  = "dev-only-operator-secret"
	AtlassianSecret = "dev-only-atlassian-secret"
	ReportsSecret   = "dev-only-reports-password"
	User            = "alice@example.com"
	Site            = "https://acme.atlassian.net"
	ClusterID       = "test-cluster"
	ClusterIssuer   = "https://kubernetes.example"
)

// World is a namespace, a zone, and reconcilers that are driven by hand.
type World struct {
	T     *testing.T
	Ctx   context.Context
	NS    string
	Zone  *devzone.Running
	Clock *clocktesting.FakeClock
	K8s   client.Client

	// Requests counts what was asked of the zone, and lets tests answer in its place.
	Requests *Recorder
	// Writes counts what was written to the cluster.
	Writes *Recorder
	Events *Events
	Logs   *SyncBuffer
	// reconciles is how often the whole operator reconciled a binding.
	reconciles atomic.Int64
	// Account is who the reconcilers are in the cluster; nil: the administrator.
	Account *rest.Config

	// Installs is what Resources is made of, see Configure.
	Installs  keycardresource.Deps
	Resources *keycardresource.Controller
	Bindings  *tokenbinding.Controller
	// Cached and Live are the clients of Bindings, which tests put others into; Deps is what it is made of.
	Cached   *SwapClient
	Live     *SwapReader
	Deps     tokenbinding.Deps
	Rollouts *rollout.Controller
	// Consent is what the page and the watcher of grants work with.
	Consent consent.Deps
	watcher *consent.Watcher
	woken   []types.NamespacedName
}

// New starts a zone whose clock stands still, and makes a namespace with the Secrets that a user would write. Worlds do not
// disturb each other, so from here on the test runs beside others.
func New(t *testing.T, change ...func(*devzone.Config)) *World {
	t.Helper()
	t.Parallel()
	return Another(t, change...)
}

// Another is New without the last sentence: for a test that has a world already, or that follows another one.
func Another(t *testing.T, change ...func(*devzone.Config)) *World {
	t.Helper()
	w := &World{
		T: t, Clock: clocktesting.NewFakeClock(time.Now().Truncate(time.Second)),
		Requests: &Recorder{}, Writes: &Recorder{}, Events: &Events{}, Logs: &SyncBuffer{},
	}
	w.Ctx = logr.NewContext(t.Context(), w.Logger())
	w.StartZone(change...)
	w.K8s = w.Client(Cluster.Config)
	w.makeNamespace()
	return w
}

// StartZone starts the zone of a world.
func (w *World) StartZone(change ...func(*devzone.Config)) {
	cfg := devzone.Config{
		Clock: w.Clock.Now, UpstreamTokenLifetime: time.Hour, Strict: true,
		ZoneMiddleware: w.Requests.middleware("zone"), APIMiddleware: w.Requests.middleware("api"), AtlassianMiddleware: w.Requests.middleware("atlassian"),
	}
	for _, c := range change {
		c(&cfg)
	}
	zone, err := devzone.Start(context.WithoutCancel(w.Ctx), cfg)
	must.Succeed(w.T, err)
	w.T.Cleanup(func() { must.Succeed(w.T, zone.Close()) })
	w.Zone = zone
}

// Connect makes the reconcilers: anew, as after a restart, with nothing remembered.
func (w *World) Connect() {
	w.K8s = w.Client(Cluster.Config)
	c := w.K8s
	if w.Account != nil {
		c = w.Client(w.Account)
	}
	entries, err := catalog.Load()
	must.Succeed(w.T, err)
	pool := keycard.NewPool(keycard.Options{AllowInsecureLoopback: true, Now: w.Clock.Now, Timeout: 5 * time.Second, ResponseHeaderTimeout: time.Second})
	w.Installs = keycardresource.Deps{
		Client: c, Live: c, Zones: pool, Catalog: entries, ClusterID: ClusterID, Recorder: w.Events, Clock: w.Clock,
		CheckEvery: 10 * time.Minute, ClusterIssuer: func(context.Context) (string, error) { return ClusterIssuer, nil },
	}
	w.Configure(func(*keycardresource.Deps) {})
	w.Cached, w.Live = &SwapClient{c}, &SwapReader{c}
	w.Rebuild(func(d *tokenbinding.Deps) {
		*d = tokenbinding.Deps{
			Client: w.Cached, Live: w.Live, Zones: pool, Targets: target.NewFinder(w.Cached, w.Live, pool, entries, false), Sites: site.New(atlassian.NewClient(pool, w.Zone.AtlassianURL), w.Clock),
			Recorder: w.Events, Clock: w.Clock, Gates: throttle.New(8, w.Clock), LookUps: throttle.New(8, w.Clock),
		}
	})
	w.Rollouts = rollout.New(c, w.Events, w.Clock, false)
	w.Consent = consent.Deps{
		Client: indexed{c, w.NS}, Live: c, Zones: pool, Paused: func(zone string) bool { return w.Deps.Gates.Paused(zone) }, Targets: w.Deps.Targets, Clock: w.Clock, Bindings: woken{w},
	}
	w.watcher = consent.NewWatcher(w.Consent)
}

// Configure makes the controller of installs anew, with other dependencies.
func (w *World) Configure(change func(*keycardresource.Deps)) {
	change(&w.Installs)
	w.Resources = keycardresource.New(w.Installs)
}

// ConsentPage lets installs register the application for consent.
func (w *World) ConsentPage() {
	w.Configure(func(d *keycardresource.Deps) { d.ConsentRedirectURIs = ConsentRedirectURIs })
}

// Rebuild makes the controller of bindings anew, of what change says.
func (w *World) Rebuild(change func(*tokenbinding.Deps)) {
	change(&w.Deps)
	w.Bindings = tokenbinding.New(w.Deps)
}

// SwapClient is a client that a test puts another one into.
type SwapClient struct{ client.Client }

// SwapReader is a reader that a test puts another one into.
type SwapReader struct{ client.Reader }

// Client makes a client whose writes are counted.
func (w *World) Client(cfg *rest.Config) client.Client {
	cfg = rest.CopyConfig(cfg)
	cfg.Wrap(w.Writes.Transport)
	cfg.Wrap(retryafter.Transport)
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: Scheme(w.T)})
	must.Succeed(w.T, err)
	return interceptor.NewClient(c, interceptor.Funcs{List: ListByInstall})
}

// ListByInstall lists bindings by the index that the cache has and the server has not.
func ListByInstall(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
	o := (&client.ListOptions{}).ApplyOptions(opts)
	bindings, ok := list.(*v1alpha1.ConfluenceTokenBindingList)
	if !ok || o.FieldSelector == nil {
		return c.List(ctx, list, o)
	}
	install, ok := o.FieldSelector.RequiresExactMatch(index.Install)
	if !ok {
		return c.List(ctx, list, o)
	}
	o.FieldSelector = nil
	err := c.List(ctx, bindings, o)
	bindings.Items = slices.DeleteFunc(bindings.Items, func(b v1alpha1.ConfluenceTokenBinding) bool { return !slices.Contains(index.InstallOf(&b), install) })
	return err
}

func (w *World) makeNamespace() {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "world-"}}
	must.Succeed(w.T, w.K8s.Create(w.Ctx, ns))
	w.NS = ns.Name
	w.Connect()
	w.Secret("service-account", "operator", OperatorSecret)
	w.Secret("oauth-app", "atlassian-app", AtlassianSecret)
	w.Secret("reports-app", "reports", ReportsSecret)
}

// Secret makes a Secret with a client's credentials.
func (w *World) Secret(name, id, secret string) {
	w.T.Helper()
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: name},
		Data:       map[string][]byte{v1alpha1.ClientIDKey: []byte(id), v1alpha1.ClientSecretKey: []byte(secret)},
	}
	must.Succeed(w.T, w.K8s.Create(w.Ctx, s))
}

// Install is a KeycardResource for the world's zone; it is not created yet.
func (w *World) Install() *v1alpha1.KeycardResource {
	return &v1alpha1.KeycardResource{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: "confluence"},
		Spec: v1alpha1.KeycardResourceSpec{
			Zone: v1alpha1.ZoneReference{
				ID: w.Zone.ZoneID, Issuer: w.Zone.Issuer, APIURL: w.Zone.APIURL,
				ServiceAccountSecretRef: v1alpha1.LocalSecretReference{Name: "service-account"},
			},
			CatalogEntry:      "confluence",
			OAuthAppSecretRef: v1alpha1.LocalSecretReference{Name: "oauth-app"},
		},
	}
}

// Binding is a ConfluenceTokenBinding of the install; it is not created yet.
func (w *World) Binding(name string) *v1alpha1.ConfluenceTokenBinding {
	return &v1alpha1.ConfluenceTokenBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: name},
		Spec: v1alpha1.ConfluenceTokenBindingSpec{
			ResourceRef: v1alpha1.KeycardResourceReference{Name: "confluence"},
			Application: v1alpha1.Application{ClientSecretRef: &v1alpha1.LocalSecretReference{Name: "reports-app"}},
			Subject:     v1alpha1.Subject{User: User},
			Scopes:      []v1alpha1.Scope{"read:confluence-content.all"},
			Secret:      v1alpha1.OutputSecret{Name: name + "-token"},
		},
	}
}

// Ready makes an install and a binding, and reconciles both until they are Ready.
func (w *World) Ready() (*v1alpha1.KeycardResource, *v1alpha1.ConfluenceTokenBinding) {
	w.T.Helper()
	resource, binding := w.Install(), w.Binding("reports")
	must.Succeed(w.T, w.K8s.Create(w.Ctx, resource))
	must.Succeed(w.T, w.K8s.Create(w.Ctx, binding))
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	return resource, binding
}

// ReconcileResource takes one step, and reads the object again.
func (w *World) ReconcileResource(r *v1alpha1.KeycardResource) ctrl.Result {
	w.T.Helper()
	result, err := w.Resources.Reconcile(w.Ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(r)})
	must.Succeed(w.T, err)
	must.Succeed(w.T, client.IgnoreNotFound(w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(r), r)))
	return result
}

// ReconcileBinding takes one step with the token and one with the workloads, and reads the object again.
func (w *World) ReconcileBinding(b *v1alpha1.ConfluenceTokenBinding) ctrl.Result {
	w.T.Helper()
	result, err := w.StepBinding(b)
	must.Succeed(w.T, err)
	must.Succeed(w.T, client.IgnoreNotFound(w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(b), b)))
	return result
}

// StepBinding takes one step with the token and one with the workloads, even where the first fails.
func (w *World) StepBinding(b *v1alpha1.ConfluenceTokenBinding) (ctrl.Result, error) {
	req := ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b)}
	result, err := w.Bindings.Reconcile(w.Ctx, req)
	restart, restartErr := w.Rollouts.Reconcile(w.Ctx, req)
	if restart.RequeueAfter > 0 && (result.RequeueAfter == 0 || restart.RequeueAfter < result.RequeueAfter) {
		result.RequeueAfter = restart.RequeueAfter
	}
	return result, errors.Join(err, restartErr)
}

// Output reads the Secret that a binding writes.
func (w *World) Output(b *v1alpha1.ConfluenceTokenBinding) *corev1.Secret {
	w.T.Helper()
	var s corev1.Secret
	must.Succeed(w.T, w.K8s.Get(w.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: b.Spec.Secret.Name}, &s))
	return &s
}

// Expect checks one condition of an object that was just read, and gives its message.
func (w *World) Expect(o client.Object, conditionType string, status metav1.ConditionStatus, reason string) string {
	w.T.Helper()
	list := ConditionsOf(o)
	c := meta.FindStatusCondition(list, conditionType)
	if c == nil {
		w.T.Fatalf("condition %s is absent; there are %s", conditionType, Describe(list))
	}
	if c.Status != status || c.Reason != reason {
		w.T.Fatalf("condition %s is %s %s (%s), want %s %s; all: %s", conditionType, c.Status, c.Reason, c.Message, status, reason, Describe(list))
	}
	if c.ObservedGeneration != o.GetGeneration() {
		w.T.Errorf("condition %s speaks of generation %d, the object has %d", conditionType, c.ObservedGeneration, o.GetGeneration())
	}
	return c.Message
}

// Absent checks that conditions are not there.
func (w *World) Absent(o client.Object, conditionTypes ...string) {
	w.T.Helper()
	for _, conditionType := range conditionTypes {
		if c := meta.FindStatusCondition(ConditionsOf(o), conditionType); c != nil {
			w.T.Errorf("condition %s is there: %s %s", conditionType, c.Status, c.Reason)
		}
	}
}

// ConditionsOf gives the conditions of either kind.
func ConditionsOf(o client.Object) []metav1.Condition {
	switch o := o.(type) {
	case *v1alpha1.KeycardResource:
		return o.Status.Conditions
	case *v1alpha1.ConfluenceTokenBinding:
		return o.Status.Conditions
	}
	return nil
}

// Describe prints conditions.
func Describe(list []metav1.Condition) string {
	var b strings.Builder
	for _, c := range list {
		fmt.Fprintf(&b, "\n  %s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message)
	}
	return b.String()
}

// reconciled matches what controller-runtime logs when a binding was reconciled. Its own counter is one for all worlds.
var reconciled = regexp.MustCompile(`"msg"="Reconcile[r ].*"controller"="confluencetokenbinding"`)

// Logger is as talkative as the operator's program may be.
func (w *World) Logger() logr.Logger {
	return funcr.New(func(prefix, args string) {
		if reconciled.MatchString(args) {
			w.reconciles.Add(1)
		}
		_, _ = fmt.Fprintln(w.Logs, prefix, args)
	}, funcr.Options{Verbosity: 7})
}

// Scheme has the kinds of the cluster and ours.
func Scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	must.Succeed(t, clientgoscheme.AddToScheme(s))
	must.Succeed(t, v1alpha1.AddToScheme(s))
	return s
}

// Events keeps what was recorded.
type Events struct {
	mu   sync.Mutex
	list []string
}

// Eventf keeps an event.
func (e *Events) Eventf(_, _ runtime.Object, eventType, reason, action, note string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, fmt.Sprintf("%s %s %s %s", eventType, reason, action, fmt.Sprintf(note, args...)))
}

// Take gives what was recorded since the last call.
func (e *Events) Take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.list
	e.list = nil
	return list
}

// SyncBuffer is a log that several goroutines write.
type SyncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*SyncBuffer)(nil)

// Write appends.
func (s *SyncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// String gives what was written.
func (s *SyncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
