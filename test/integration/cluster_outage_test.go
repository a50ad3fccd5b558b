// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
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
)

// The API server is gone for a minute, from the moment a token is to be written; caches answer all the while. The token waits in
// memory, the operator does not hammer, and what was exchanged once is written when the server is back. A clock stands in for
// the minute.
func TestOutageOfAMinute(t *testing.T) {
	for name, begin := range map[string]func(*world) *v1alpha1.ConfluenceTokenBinding{
		"first token": func(w *world) *v1alpha1.ConfluenceTokenBinding {
			resource, binding := w.install(), w.binding("reports")
			must(t, w.k8s.Create(w.ctx, resource))
			must(t, w.k8s.Create(w.ctx, binding))
			w.reconcileResource(resource)
			return binding
		},
		"refresh": func(w *world) *v1alpha1.ConfluenceTokenBinding {
			_, binding := w.ready()
			w.clock.SetTime(binding.Status.RefreshAt.Time)
			return binding
		},
		"deleted Secret": func(w *world) *v1alpha1.ConfluenceTokenBinding {
			_, binding := w.ready()
			must(t, w.k8s.Delete(w.ctx, w.output(binding)))
			return binding
		},
		"requested token": func(w *world) *v1alpha1.ConfluenceTokenBinding {
			_, binding := w.ready()
			w.clock.Step(5 * time.Minute)
			binding.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: "now"}
			must(t, w.k8s.Update(w.ctx, binding))
			return binding
		},
		"renewed subject": func(w *world) *v1alpha1.ConfluenceTokenBinding {
			binding := w.portal()
			w.clock.Step(5 * time.Minute)
			w.portalSecret("access_token", w.signIn().AccessToken)
			return binding
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, signsIn)
			binding := begin(w)
			w.requests.take()
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
			undo := w.writes.standIn("", gone)
			w.bindings.Live = w.liveClient()
			w.drive(binding, w.clock.Now().Add(time.Minute))
			if n := refused.Load(); n == 0 || n > 40 {
				t.Errorf("%d requests in a minute without an API server", n)
			}
			undo()
			// The longest wait of a backoff that began with the outage.
			w.drive(binding, w.clock.Now().Add(refresh.RetryAfter(10, 0, "")*3/2))
			must(t, w.k8s.Get(w.ctx, client.ObjectKeyFromObject(binding), binding))
			w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			if n := w.requests.count(exchanges); n != 1 {
				t.Errorf("%d exchanges, want one", n)
			}
			if name != "deleted Secret" && binding.Status.ExpiresAt.String() == before {
				t.Error("the new token was not written")
			}
			w.pages(w.output(binding))
			w.noCanaries()
		})
	}
}

// liveClient makes a client whose requests say that no cache answers them.
func (w *world) liveClient() client.Client {
	cfg := rest.CopyConfig(cluster.Config)
	cfg.Wrap(w.writes.transport)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			r = r.Clone(r.Context())
			r.Header.Set("X-Live", "true")
			return next.RoundTrip(r)
		})
	})
	c, err := client.New(cfg, client.Options{Scheme: scheme(w.t)})
	must(w.t, err)
	return c
}

// drive reconciles whenever a controller would until then: after an error with the backoff of its queue.
func (w *world) drive(b *v1alpha1.ConfluenceTokenBinding, until time.Time) {
	w.t.Helper()
	const first, most = 50 * time.Millisecond, 30 * time.Second
	for backoff := first; w.clock.Now().Before(until); {
		result, err := w.bindings.Reconcile(w.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b)})
		wait := result.RequeueAfter
		if err != nil {
			wait, backoff = backoff, min(2*backoff, most)
		} else {
			backoff = first
		}
		if wait == 0 {
			return // a watch would report
		}
		w.clock.Step(min(wait, until.Sub(w.clock.Now())))
	}
}

// wire passes connections on to the API server until it is cut.
type wire struct {
	t       *testing.T
	address string

	mu       sync.Mutex
	listener net.Listener
	open     []net.Conn
}

func newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{t: t, address: "127.0.0.1:0"}
	w.mend()
	t.Cleanup(w.cut)
	return w
}

// mend listens, at the same address as before.
func (w *wire) mend() {
	w.t.Helper()
	listener, err := new(net.ListenConfig).Listen(w.t.Context(), "tcp", w.address)
	must(w.t, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listener, w.address = listener, listener.Addr().String()
	go w.serve(listener)
}

func (w *wire) serve(listener net.Listener) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return // it was cut
		}
		far, err := new(net.Dialer).DialContext(w.t.Context(), "tcp", strings.Trim(strings.TrimPrefix(cluster.Config.Host, "https:"), "/"))
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

// cut ends all connections, and refuses new ones.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.listener.Close()
	for _, c := range w.open {
		_ = c.Close()
	}
	w.open = nil
}

// The same with the whole operator, real connections and the real time: the connection to the API server is cut when the zone has
// issued a token, and mended much later. It is this token that is written then.
func TestRealOutage(t *testing.T) {
	t.Parallel() // it waits most of the time
	const outage = 20 * time.Second
	w := newWorld(t, realTime, func(c *devzone.Config) { c.UpstreamTokenLifetime = time.Minute })
	resource, binding := w.install(), w.binding("reports")
	must(t, w.k8s.Create(w.ctx, resource))
	must(t, w.k8s.Create(w.ctx, binding))
	line := newWire(t)
	w.account = rest.CopyConfig(cluster.Config)
	w.account.Host = "https://" + line.address
	w.startOperator()
	w.untilReady(binding)
	before := w.output(binding)
	w.requests.take()
	var start atomic.Pointer[time.Time]
	w.requests.afterwards(func(what string) {
		if strings.Contains(what, exchanges) && start.CompareAndSwap(nil, new(time.Now())) {
			line.cut()
		}
	})
	w.eventually("a new token lives longer than the present one", func(context.Context) (bool, error) {
		return time.Since(binding.Status.IssuedAt.Time) > 5*time.Second, nil
	})
	must(t, w.k8s.Get(w.ctx, client.ObjectKeyFromObject(binding), binding))
	binding.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: "now"}
	must(t, w.k8s.Update(w.ctx, binding))
	w.eventually("the outage has lasted", func(context.Context) (bool, error) {
		at := start.Load()
		return at != nil && time.Since(*at) > outage, nil
	})
	if now := w.output(binding); now.ResourceVersion != before.ResourceVersion {
		t.Error("the Secret was written through a wire that is cut")
	}
	w.pages(before) // the token that pods have is good all the while
	line.mend()
	mended := time.Now()
	var after corev1.Secret
	w.eventually("the token is written", func(ctx context.Context) (bool, error) {
		err := w.k8s.Get(ctx, client.ObjectKeyFromObject(before), &after)
		return err == nil && after.ResourceVersion != before.ResourceVersion, client.IgnoreNotFound(err)
	})
	t.Logf("written %s after an outage of %s", time.Since(mended).Round(100*time.Millisecond), mended.Sub(*start.Load()).Round(time.Second))
	w.pages(&after)
	if n := w.requests.count(exchanges); n != 1 {
		t.Errorf("%d exchanges, want one", n)
	}
	w.eventually("the status follows", func(ctx context.Context) (bool, error) {
		err := w.k8s.Get(ctx, client.ObjectKeyFromObject(binding), binding)
		issued := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionTokenIssued)
		return err == nil && issued.Reason != v1alpha1.ReasonRefreshFailing && meta.IsStatusConditionTrue(binding.Status.Conditions, v1alpha1.ConditionReady), err
	})
	w.noCanaries()
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
			t.Parallel() // the cluster takes its time
			w := newWorld(t)
			behind := stale{Client: w.k8s, app: &corev1.Secret{}, blind: blind}
			resource, binding := w.ready()
			behind.resource = resource
			must(t, w.k8s.Get(w.ctx, client.ObjectKey{Namespace: w.ns, Name: "reports-app"}, behind.app))
			const hold = "keycard.test/hold"
			binding.Finalizers = []string{hold}
			must(t, w.k8s.Update(w.ctx, binding))
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.ns}}
			must(t, w.k8s.Delete(w.ctx, ns))
			w.eventually("the Secrets are gone and the binding is about to go", func(ctx context.Context) (bool, error) {
				var secrets corev1.SecretList
				if err := w.k8s.List(ctx, &secrets, client.InNamespace(w.ns)); err != nil {
					return false, err
				}
				err := w.k8s.Get(ctx, client.ObjectKeyFromObject(binding), binding)
				return len(secrets.Items) == 0 && !binding.DeletionTimestamp.IsZero(), err
			})
			behind.binding = binding.DeepCopy()
			behind.binding.DeletionTimestamp = nil
			w.bindings.Client, w.bindings.Live = behind, behind
			w.requests.take()
			w.writes.take()
			var waits []time.Duration
			for range 3 {
				result, err := w.bindings.Reconcile(w.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(binding)})
				must(t, err)
				waits = append(waits, result.RequeueAfter)
			}
			wantExchanges, wantWait := 0, time.Duration(0)
			if blind {
				wantExchanges, wantWait = 1, slowRetry
			}
			if n := w.requests.count(exchanges); n != wantExchanges {
				t.Errorf("%d exchanges, want %d", n, wantExchanges)
			}
			if n := w.writes.count("/secrets/"); n != wantExchanges {
				t.Errorf("%d writes of the Secret, want %d", n, wantExchanges)
			}
			if least := slices.Min(waits); least < wantWait {
				t.Errorf("it is tried again after %s, want at least %s", least, wantWait)
			}
			must(t, w.k8s.Get(w.ctx, client.ObjectKeyFromObject(binding), binding))
			message := meta.FindStatusCondition(binding.Status.Conditions, v1alpha1.ConditionSecretSynced).Message
			if !strings.Contains(message, "the namespace is being deleted") {
				t.Errorf("the condition says %s", message)
			}
			binding.Finalizers = nil
			must(t, w.k8s.Update(w.ctx, binding))
		})
	}
}
