// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

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
)

// ask puts the annotation on a binding that requests a new token.
func (w *world) ask(b *v1alpha1.ConfluenceTokenBinding, value string) {
	w.t.Helper()
	before := b.DeepCopy()
	b.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: value}
	must(w.t, w.k8s.Patch(w.ctx, b, client.MergeFrom(before)))
}

// A request for a new token is honoured once, after a restart too, and echoed in status.
func TestRefreshRequest(t *testing.T) {
	w := newWorld(t)
	_, binding := w.ready()
	before := string(w.output(binding).Data["token"])
	w.clock.Step(time.Minute)
	w.requests.take()
	w.ask(binding, "2026-03-01T12:00:00Z")
	for range 3 {
		w.reconcileBinding(binding)
		w.connect()
	}
	if n := w.requests.count(exchanges); n != 1 {
		t.Errorf("%d exchanges", n)
	}
	if after := string(w.output(binding).Data["token"]); after == before || binding.Status.LastRefreshRequest != "2026-03-01T12:00:00Z" {
		t.Errorf("the token is another: %v, status echoes %q", after != before, binding.Status.LastRefreshRequest)
	}
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

	w.requests.take()
	w.ask(binding, strings.Repeat("é", 100))
	w.reconcileBinding(binding)
	w.reconcileBinding(binding)
	if n := w.requests.count(exchanges); n != 1 || len(binding.Status.LastRefreshRequest) != 64 {
		t.Errorf("%d exchanges for a long value, echoed %q", n, binding.Status.LastRefreshRequest)
	}
}

// A request cuts a pause after a failure short, once.
func TestRefreshRequestInBackoff(t *testing.T) {
	w := newWorld(t)
	_, binding := w.ready()
	undo := w.requests.answer(exchanges, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	w.clock.SetTime(binding.Status.RefreshAt.Time)
	w.requests.take()
	for range 5 {
		w.clock.Step(w.reconcileBinding(binding).RequeueAfter)
	}
	tried := w.requests.count(exchanges)
	w.reconcileBinding(binding)
	w.requests.take()
	w.reconcileBinding(binding) // still waits
	w.ask(binding, "now")
	w.reconcileBinding(binding)
	w.reconcileBinding(binding)
	if n := w.requests.count(exchanges); n != 1 || tried == 0 {
		t.Errorf("%d exchanges at the request, %d before", n, tried)
	}
	undo()
	w.ask(binding, "now, please")
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
}

// The whole operator sees the annotation, and no other.
func TestRefreshRequestIsWatched(t *testing.T) {
	w := newWorld(t, realTime)
	resource, binding := w.install(), w.binding("reports")
	must(t, w.k8s.Create(w.ctx, resource))
	must(t, w.k8s.Create(w.ctx, binding))
	w.startOperator()
	w.untilReady(binding)
	w.ask(binding, "watched")
	w.eventually("the request is honoured", func(ctx context.Context) (bool, error) {
		err := w.k8s.Get(ctx, client.ObjectKeyFromObject(binding), binding)
		return binding.Status.LastRefreshRequest == "watched", err
	})
}

// The Secret remembers a request that was honoured, so that a status that could not be written, or was lost, costs no second
// token.
func TestRefreshRequestOutlivesTheStatus(t *testing.T) {
	for name, lose := range map[string]func(*world, *v1alpha1.ConfluenceTokenBinding){
		"the write fails": func(w *world, b *v1alpha1.ConfluenceTokenBinding) {
			undo := w.writes.standIn("/status", clusterAnswer(http.StatusServiceUnavailable, "{}"))
			_, err := w.bindings.Reconcile(w.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b)})
			undo()
			if err == nil {
				w.t.Fatal("the status was written")
			}
		},
		"a restore": func(w *world, b *v1alpha1.ConfluenceTokenBinding) {
			w.reconcileBinding(b)
			b.Status = v1alpha1.ConfluenceTokenBindingStatus{}
			must(w.t, w.k8s.Status().Update(w.ctx, b))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, binding := w.ready()
			w.clock.Step(time.Minute)
			w.requests.take()
			w.ask(binding, "once")
			lose(w, binding)
			for range 2 {
				w.reconcileBinding(binding)
				w.connect()
			}
			if n := w.requests.count(exchanges); n != 1 || binding.Status.LastRefreshRequest != "once" {
				t.Errorf("%d exchanges, status echoes %q", n, binding.Status.LastRefreshRequest)
			}
			// The next tokens remember it too.
			w.clock.SetTime(binding.Status.RefreshAt.Time)
			w.reconcileBinding(binding)
			binding.Status.LastRefreshRequest = ""
			must(t, w.k8s.Status().Update(w.ctx, binding))
			w.requests.take()
			w.reconcileBinding(binding)
			if n := w.requests.count(exchanges); n != 0 {
				t.Errorf("%d exchanges after the rotation", n)
			}
		})
	}
}

// A token that was asked for is kept however often its Secret can't be written.
func TestRefreshRequestOutlivesFailedWrites(t *testing.T) {
	w := newWorld(t)
	_, binding := w.ready()
	before := string(w.output(binding).Data["token"])
	w.clock.Step(time.Minute)
	w.requests.take()
	undo := w.writes.standIn("PATCH /api/v1/namespaces/"+w.ns+"/secrets/", clusterAnswer(http.StatusServiceUnavailable, "{}"))
	w.ask(binding, "once")
	for range 4 {
		w.clock.Step(w.reconcileBinding(binding).RequeueAfter)
	}
	undo()
	w.reconcileBinding(binding)
	if n := w.requests.count(exchanges); n != 1 || string(w.output(binding).Data["token"]) == before {
		t.Errorf("%d exchanges, and the Secret has the token from before: %v", n, string(w.output(binding).Data["token"]) == before)
	}
}

// Who asks gets another token, though it lives shorter; one that the zone only hands out again, as its expiry shows, changes
// nothing. Without being asked, one that lives shorter is not taken.
func TestRefreshRequestTakesAShorterToken(t *testing.T) {
	left := func(b *v1alpha1.ConfluenceTokenBinding, w *world) int {
		return int(b.Status.ExpiresAt.Sub(w.clock.Now()).Seconds())
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
			w := newWorld(t)
			_, binding := w.ready()
			w.clock.SetTime(binding.Status.RefreshAt.Time)
			if tc.asked {
				w.clock.SetTime(binding.Status.IssuedAt.Add(time.Minute))
				w.ask(binding, "now")
			}
			w.hands("another", left(binding, w)-tc.shorter)
			w.reconcileBinding(binding)
			if taken := string(w.output(binding).Data["token"]) == "another"; taken != tc.taken {
				t.Errorf("the token was taken: %v", taken)
			}
			w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
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
	meanwhile := map[string]func(*world, *v1alpha1.ConfluenceTokenBinding){
		"":                         func(*world, *v1alpha1.ConfluenceTokenBinding) {},
		", and the spec is edited": func(w *world, b *v1alpha1.ConfluenceTokenBinding) { w.layOut(b, v1alpha1.FormatHeader) },
	}
	for what, answer := range answers {
		for more, change := range meanwhile {
			t.Run(what+more, func(t *testing.T) {
				w := newWorld(t)
				_, binding := w.ready()
				before := string(w.output(binding).Data["token"])
				w.clock.Step(time.Minute)
				undo := w.requests.answer(exchanges, answer)
				w.ask(binding, "now")
				w.clock.Step(w.reconcileBinding(binding).RequeueAfter)
				change(w, binding)
				w.clock.Step(w.reconcileBinding(binding).RequeueAfter)
				w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
				undo()
				w.reconcileBinding(binding)
				if string(w.output(binding).Data["token"]) == before || binding.Status.LastRefreshRequest != "now" {
					t.Errorf("the token is the one from before, and status echoes %q", binding.Status.LastRefreshRequest)
				}
				w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
				if n := w.exchangesOf(binding, 2); n != 0 {
					t.Errorf("%d exchanges after that", n)
				}
			})
		}
	}
}

// layOut edits the formats of a binding's Secret.
func (w *world) layOut(b *v1alpha1.ConfluenceTokenBinding, formats ...v1alpha1.Format) {
	w.t.Helper()
	b.Spec.Secret.Formats = formats
	must(w.t, w.k8s.Update(w.ctx, b))
}
