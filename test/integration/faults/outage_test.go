// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// The API server is gone for a minute, from the moment a token is to be written; caches answer all the while. The token waits in
// memory, the operator does not hammer, and what was exchanged once is written when the server is back. A clock stands in for
// the minute.
func TestOutageOfAMinute(t *testing.T) {
	for name, begin := range map[string]func(*world.World) *v1alpha1.ConfluenceTokenBinding{
		"first token": func(w *world.World) *v1alpha1.ConfluenceTokenBinding {
			resource, binding := w.Install(), w.Binding("reports")
			must.Succeed(t, w.K8s.Create(w.Ctx, resource))
			must.Succeed(t, w.K8s.Create(w.Ctx, binding))
			w.ReconcileResource(resource)
			return binding
		},
		"refresh": func(w *world.World) *v1alpha1.ConfluenceTokenBinding {
			_, binding := w.Ready()
			w.Clock.SetTime(binding.Status.RefreshAt.Time)
			return binding
		},
		"deleted Secret": func(w *world.World) *v1alpha1.ConfluenceTokenBinding {
			_, binding := w.Ready()
			must.Succeed(t, w.K8s.Delete(w.Ctx, w.Output(binding)))
			return binding
		},
		"requested token": func(w *world.World) *v1alpha1.ConfluenceTokenBinding {
			_, binding := w.Ready()
			w.Clock.Step(5 * time.Minute)
			binding.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: "now"}
			must.Succeed(t, w.K8s.Update(w.Ctx, binding))
			return binding
		},
		"renewed subject": func(w *world.World) *v1alpha1.ConfluenceTokenBinding {
			binding := w.Portal()
			w.Clock.Step(5 * time.Minute)
			w.PortalSecret("access_token", w.SignIn().AccessToken)
			return binding
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t, world.SignsIn)
			binding := begin(w)
			w.Requests.Take()
			before := ""
			if binding.Status.ExpiresAt != nil {
				before = binding.Status.ExpiresAt.String()
			}
			var isDown atomic.Bool
			var refused atomic.Int32
			gone := func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/secrets/") {
					isDown.Store(true)
				}
				if !isDown.Load() || r.Method == http.MethodGet && r.Header.Get("X-Live") == "" {
					return nil, nil //nolint:nilnil // it is passed on
				}
				refused.Add(1)
				return down(r)
			}
			undo := w.Writes.StandIn("", gone)
			w.Live.Reader = liveClient(w)
			drive(w, binding, w.Clock.Now().Add(time.Minute))
			if n := refused.Load(); n == 0 || n > 40 {
				t.Errorf("%d requests in a minute without an API server", n)
			}
			undo()
			// The longest wait of a backoff that began with the outage.
			drive(w, binding, w.Clock.Now().Add(refresh.RetryAfter(10, 0, "")*3/2))
			must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(binding), binding))
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			if n := w.Requests.Count(world.Exchanges); n != 1 {
				t.Errorf("%d exchanges, want one", n)
			}
			if name != "deleted Secret" && binding.Status.ExpiresAt.String() == before {
				t.Error("the new token was not written")
			}
			w.Pages(w.Output(binding))
			w.NoCanaries()
		})
	}
}

// liveClient makes a client whose requests say that no cache answers them.
func liveClient(w *world.World) client.Client {
	cfg := rest.CopyConfig(world.Cluster.Config)
	cfg.Wrap(w.Writes.Transport)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return world.RoundTripper(func(r *http.Request) (*http.Response, error) {
			r = r.Clone(r.Context())
			r.Header.Set("X-Live", "true")
			return next.RoundTrip(r)
		})
	})
	c, err := client.New(cfg, client.Options{Scheme: world.Scheme(w.T)})
	must.Succeed(w.T, err)
	return c
}

// drive reconciles whenever a controller would until then: after an error with the backoff of its queue.
func drive(w *world.World, b *v1alpha1.ConfluenceTokenBinding, until time.Time) {
	w.T.Helper()
	const first, most = 50 * time.Millisecond, 30 * time.Second
	for backoff := first; w.Clock.Now().Before(until); {
		result, err := w.Bindings.Reconcile(w.Ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b)})
		wait := result.RequeueAfter
		if err != nil {
			wait, backoff = backoff, min(2*backoff, most)
		} else {
			backoff = first
		}
		if wait == 0 {
			return // a watch would report
		}
		w.Clock.Step(min(wait, until.Sub(w.Clock.Now())))
	}
}

// The same with the whole operator, real connections and the real time: the connection to the API server is cut when the zone has
// issued a token, and mended much later. It is this token that is written then.
func TestRealOutage(t *testing.T) {
	const outage = 20 * time.Second
	w := world.New(t, world.RealTime, func(c *devzone.Config) { c.UpstreamTokenLifetime = time.Minute })
	resource, binding := w.Install(), w.Binding("reports")
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	line := world.NewWire(t)
	w.Account = rest.CopyConfig(world.Cluster.Config)
	w.Account.Host = "https://" + line.Address
	w.StartOperator()
	w.UntilReady(binding)
	before := w.Output(binding)
	w.Requests.Take()
	var start atomic.Pointer[time.Time]
	w.Requests.Afterwards(func(what string) {
		if strings.Contains(what, world.Exchanges) && start.CompareAndSwap(nil, new(time.Now())) {
			line.Cut()
		}
	})
	w.Eventually("a new token lives longer than the present one", func(context.Context) (bool, error) {
		return time.Since(binding.Status.IssuedAt.Time) > 5*time.Second, nil
	})
	must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(binding), binding))
	binding.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: "now"}
	must.Succeed(t, w.K8s.Update(w.Ctx, binding))
	w.Eventually("the outage has lasted", func(context.Context) (bool, error) {
		at := start.Load()
		return at != nil && time.Since(*at) > outage, nil
	})
	if now := w.Output(binding); now.ResourceVersion != before.ResourceVersion {
		t.Error("the Secret was written through a wire that is cut")
	}
	w.Pages(before) // the token that pods have is good all the while
	line.Mend()
	mended := time.Now()
	var after corev1.Secret
	w.Eventually("the token is written", func(ctx context.Context) (bool, error) {
		err := w.K8s.Get(ctx, client.ObjectKeyFromObject(before), &after)
		return err == nil && after.ResourceVersion != before.ResourceVersion, client.IgnoreNotFound(err)
	})
	t.Logf("written %s after an outage of %s", time.Since(mended).Round(100*time.Millisecond), mended.Sub(*start.Load()).Round(time.Second))
	w.Pages(&after)
	if n := w.Requests.Count(world.Exchanges); n != 1 {
		t.Errorf("%d exchanges, want one", n)
	}
	w.Eventually("the status follows", func(ctx context.Context) (bool, error) {
		err := w.K8s.Get(ctx, client.ObjectKeyFromObject(binding), binding)
		issued := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionTokenIssued)
		return err == nil && issued.Reason != v1alpha1.ReasonRefreshFailing && meta.IsStatusConditionTrue(binding.Status.Conditions, v1alpha1.ConditionReady), err
	})
	w.NoCanaries()
}

// stale answers as a cache does that is behind.
type stale struct {
	client.Client
	binding  *v1alpha1.ConfluenceTokenBinding
	resource *v1alpha1.KeycardResource
	app      *corev1.Secret
	// blind is true when namespaces can't be read.
	blind bool
}

// Get reads from the cluster what is not kept.
func (s stale) Get(ctx context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	switch o := into.(type) {
	case *v1alpha1.ConfluenceTokenBinding:
		s.binding.DeepCopyInto(o)
		return nil
	case *v1alpha1.KeycardResource:
		s.resource.DeepCopyInto(o)
		return nil
	case *corev1.Secret:
		s.app.DeepCopyInto(o)
		return nil
	case *metav1.PartialObjectMetadata:
		if s.blind && key.Namespace == "" {
			return io.ErrUnexpectedEOF
		}
	}
	return s.Client.Get(ctx, key, into, opts...)
}

// A namespace that is being deleted takes no new Secret. Its Secrets are deleted before its bindings, which would exchange for
// tokens that nobody can have: nothing is exchanged; and where the operator can't see it, one token is, and the write is tried
// again after ten minutes.
func TestNamespaceEnds(t *testing.T) {
	for name, blind := range map[string]bool{"seen": false, "not seen": true} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			behind := stale{Client: w.K8s, app: &corev1.Secret{}, blind: blind}
			resource, binding := w.Ready()
			behind.resource = resource
			must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKey{Namespace: w.NS, Name: "reports-app"}, behind.app))
			const hold = "keycard.test/hold"
			binding.Finalizers = []string{hold}
			must.Succeed(t, w.K8s.Update(w.Ctx, binding))
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.NS}}
			must.Succeed(t, w.K8s.Delete(w.Ctx, ns))
			w.Eventually("the Secrets are gone and the binding is about to go", func(ctx context.Context) (bool, error) {
				var secrets corev1.SecretList
				if err := w.K8s.List(ctx, &secrets, client.InNamespace(w.NS)); err != nil {
					return false, err
				}
				err := w.K8s.Get(ctx, client.ObjectKeyFromObject(binding), binding)
				return len(secrets.Items) == 0 && !binding.DeletionTimestamp.IsZero(), err
			})
			behind.binding = binding.DeepCopy()
			behind.binding.DeletionTimestamp = nil
			w.Cached.Client, w.Live.Reader = behind, behind
			w.Requests.Take()
			w.Writes.Take()
			var waits []time.Duration
			for range 3 {
				result, err := w.Bindings.Reconcile(w.Ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(binding)})
				must.Succeed(t, err)
				waits = append(waits, result.RequeueAfter)
			}
			wantExchanges, wantWait := 0, time.Duration(0)
			if blind {
				wantExchanges, wantWait = 1, world.SlowRetry
			}
			if n := w.Requests.Count(world.Exchanges); n != wantExchanges {
				t.Errorf("%d exchanges, want %d", n, wantExchanges)
			}
			if n := w.Writes.Count("/secrets/"); n != wantExchanges {
				t.Errorf("%d writes of the Secret, want %d", n, wantExchanges)
			}
			if least := slices.Min(waits); least < wantWait {
				t.Errorf("it is tried again after %s, want at least %s", least, wantWait)
			}
			must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(binding), binding))
			message := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionSecretSynced).Message
			if !strings.Contains(message, "the namespace is being deleted") {
				t.Errorf("the condition says %s", message)
			}
			binding.Finalizers = nil
			must.Succeed(t, w.K8s.Update(w.Ctx, binding))
		})
	}
}
