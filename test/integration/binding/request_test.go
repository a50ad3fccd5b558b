// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// ask puts the annotation on a binding that requests a new token.
func ask(w *world.World, b *v1alpha1.ConfluenceTokenBinding, value string) {
	w.T.Helper()
	before := b.DeepCopy()
	b.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: value}
	must.Succeed(w.T, w.K8s.Patch(w.Ctx, b, client.MergeFrom(before)))
}

// A request for a new token is honoured once, after a restart too, and echoed in status.
func TestRefreshRequest(t *testing.T) {
	w := world.New(t)
	_, binding := w.Ready()
	before := string(w.Output(binding).Data["token"])
	w.Clock.Step(time.Minute)
	w.Requests.Take()
	ask(w, binding, "2026-03-01T12:00:00Z")
	for range 3 {
		w.ReconcileBinding(binding)
		w.Connect()
	}
	if n := w.Requests.Count(world.Exchanges); n != 1 {
		t.Errorf("%d exchanges", n)
	}
	if after := string(w.Output(binding).Data["token"]); after == before || binding.Status.LastRefreshRequest != "2026-03-01T12:00:00Z" {
		t.Errorf("the token is another: %v, status echoes %q", after != before, binding.Status.LastRefreshRequest)
	}
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

	w.Requests.Take()
	ask(w, binding, strings.Repeat("é", 100))
	w.ReconcileBinding(binding)
	w.ReconcileBinding(binding)
	if n := w.Requests.Count(world.Exchanges); n != 1 || len(binding.Status.LastRefreshRequest) != 64 {
		t.Errorf("%d exchanges for a long value, echoed %q", n, binding.Status.LastRefreshRequest)
	}
}

// A request cuts a pause after a failure short, once.
func TestRefreshRequestInBackoff(t *testing.T) {
	w := world.New(t)
	_, binding := w.Ready()
	undo := w.Requests.Answer(world.Exchanges, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	w.Clock.SetTime(binding.Status.RefreshAt.Time)
	w.Requests.Take()
	for range 5 {
		w.Clock.Step(w.ReconcileBinding(binding).RequeueAfter)
	}
	tried := w.Requests.Count(world.Exchanges)
	w.ReconcileBinding(binding)
	w.Requests.Take()
	w.ReconcileBinding(binding) // still waits
	ask(w, binding, "now")
	w.ReconcileBinding(binding)
	w.ReconcileBinding(binding)
	if n := w.Requests.Count(world.Exchanges); n != 1 || tried == 0 {
		t.Errorf("%d exchanges at the request, %d before", n, tried)
	}
	undo()
	ask(w, binding, "now, please")
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
}

// The whole operator sees the annotation, and no other.
func TestRefreshRequestIsWatched(t *testing.T) {
	w := world.New(t, world.RealTime)
	resource, binding := w.Install(), w.Binding("reports")
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	w.StartOperator()
	w.UntilReady(binding)
	ask(w, binding, "watched")
	w.Eventually("the request is honoured", func(ctx context.Context) (bool, error) {
		err := w.K8s.Get(ctx, client.ObjectKeyFromObject(binding), binding)
		return binding.Status.LastRefreshRequest == "watched", err
	})
}

// The Secret remembers a request that was honoured, so that a status that could not be written, or was lost, costs no second
// token.
func TestRefreshRequestOutlivesTheStatus(t *testing.T) {
	for name, lose := range map[string]func(*world.World, *v1alpha1.ConfluenceTokenBinding){
		"the write fails": func(w *world.World, b *v1alpha1.ConfluenceTokenBinding) {
			undo := w.Writes.StandIn("/status", world.ClusterAnswer(http.StatusServiceUnavailable, "{}"))
			_, err := w.Bindings.Reconcile(w.Ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b)})
			undo()
			if err == nil {
				w.T.Fatal("the status was written")
			}
		},
		"a restore": func(w *world.World, b *v1alpha1.ConfluenceTokenBinding) {
			w.ReconcileBinding(b)
			b.Status = v1alpha1.ConfluenceTokenBindingStatus{}
			must.Succeed(w.T, w.K8s.Status().Update(w.Ctx, b))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			_, binding := w.Ready()
			w.Clock.Step(time.Minute)
			w.Requests.Take()
			ask(w, binding, "once")
			lose(w, binding)
			for range 2 {
				w.ReconcileBinding(binding)
				w.Connect()
			}
			if n := w.Requests.Count(world.Exchanges); n != 1 || binding.Status.LastRefreshRequest != "once" {
				t.Errorf("%d exchanges, status echoes %q", n, binding.Status.LastRefreshRequest)
			}
			// The next tokens remember it too.
			w.Clock.SetTime(binding.Status.RefreshAt.Time)
			w.ReconcileBinding(binding)
			binding.Status.LastRefreshRequest = ""
			must.Succeed(t, w.K8s.Status().Update(w.Ctx, binding))
			w.Requests.Take()
			w.ReconcileBinding(binding)
			if n := w.Requests.Count(world.Exchanges); n != 0 {
				t.Errorf("%d exchanges after the rotation", n)
			}
		})
	}
}

// A token that was asked for is kept however often its Secret can't be written.
func TestRefreshRequestOutlivesFailedWrites(t *testing.T) {
	w := world.New(t)
	_, binding := w.Ready()
	before := string(w.Output(binding).Data["token"])
	w.Clock.Step(time.Minute)
	w.Requests.Take()
	undo := w.Writes.StandIn("PATCH /api/v1/namespaces/"+w.NS+"/secrets/", world.ClusterAnswer(http.StatusServiceUnavailable, "{}"))
	ask(w, binding, "once")
	for range 4 {
		w.Clock.Step(w.ReconcileBinding(binding).RequeueAfter)
	}
	undo()
	w.ReconcileBinding(binding)
	if n := w.Requests.Count(world.Exchanges); n != 1 || string(w.Output(binding).Data["token"]) == before {
		t.Errorf("%d exchanges, and the Secret has the token from before: %v", n, string(w.Output(binding).Data["token"]) == before)
	}
}

// Who asks gets another token, though it lives shorter; one that the zone only hands out again, as its expiry shows, changes
// nothing. Without being asked, one that lives shorter is not taken.
func TestRefreshRequestTakesAShorterToken(t *testing.T) {
	left := func(b *v1alpha1.ConfluenceTokenBinding, w *world.World) int {
		return int(b.Status.ExpiresAt.Sub(w.Clock.Now()).Seconds())
	}
	for name, tc := range map[string]struct {
		asked, taken bool
		shorter      int
	}{
		"asked":              {true, true, 600},
		"asked, the same":    {true, false, 1},
		"not asked, but due": {false, false, 600},
	} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			_, binding := w.Ready()
			w.Clock.SetTime(binding.Status.RefreshAt.Time)
			if tc.asked {
				w.Clock.SetTime(binding.Status.IssuedAt.Add(time.Minute))
				ask(w, binding, "now")
			}
			hands(w, "another", left(binding, w)-tc.shorter)
			w.ReconcileBinding(binding)
			if taken := string(w.Output(binding).Data["token"]) == "another"; taken != tc.taken {
				t.Errorf("the token was taken: %v", taken)
			}
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		})
	}
}

// A request that fails for a reason that passes is made again until there is a token, whatever else happens meanwhile, though the
// present one is good for a while.
func TestRefreshRequestOutlivesFailures(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"an error": func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) },
		"a pause": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Retry-After", "30")
			rw.WriteHeader(http.StatusTooManyRequests)
		},
	}
	meanwhile := map[string]func(*world.World, *v1alpha1.ConfluenceTokenBinding){
		"":                         func(*world.World, *v1alpha1.ConfluenceTokenBinding) {},
		", and the spec is edited": func(w *world.World, b *v1alpha1.ConfluenceTokenBinding) { layOut(w, b, v1alpha1.FormatHeader) },
	}
	for what, answer := range answers {
		for more, change := range meanwhile {
			t.Run(what+more, func(t *testing.T) {
				w := world.New(t)
				_, binding := w.Ready()
				before := string(w.Output(binding).Data["token"])
				w.Clock.Step(time.Minute)
				undo := w.Requests.Answer(world.Exchanges, answer)
				ask(w, binding, "now")
				w.Clock.Step(w.ReconcileBinding(binding).RequeueAfter)
				change(w, binding)
				w.Clock.Step(w.ReconcileBinding(binding).RequeueAfter)
				w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
				undo()
				w.ReconcileBinding(binding)
				if string(w.Output(binding).Data["token"]) == before || binding.Status.LastRefreshRequest != "now" {
					t.Errorf("the token is the one from before, and status echoes %q", binding.Status.LastRefreshRequest)
				}
				w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
				if n := w.ExchangesOf(binding, 2); n != 0 {
					t.Errorf("%d exchanges after that", n)
				}
			})
		}
	}
}

// layOut edits the formats of a binding's Secret.
func layOut(w *world.World, b *v1alpha1.ConfluenceTokenBinding, formats ...v1alpha1.Format) {
	w.T.Helper()
	b.Spec.Secret.Formats = formats
	must.Succeed(w.T, w.K8s.Update(w.Ctx, b))
}
