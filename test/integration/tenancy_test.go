// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/throttle"
)

// stranger is a management API of somebody's own, which answers what begins with a path.
func (w *world) stranger(answers map[string]http.HandlerFunc) string {
	w.t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /service-account-token", func(rw http.ResponseWriter, _ *http.Request) {
		writeJSON(rw, `{"access_token":"x","token_type":"Bearer","expires_in":3600}`)
	})
	for path, answer := range answers {
		mux.HandleFunc(path, answer)
	}
	server := httptest.NewServer(mux)
	w.t.Cleanup(server.Close)
	return server.URL
}

// hostile makes an install that names the world's zone, and as its management API another server.
func (w *world) hostile(apiURL string) {
	w.t.Helper()
	install := w.install()
	install.Name, install.Spec.Zone.APIURL = "hostile", apiURL
	must(w.t, w.k8s.Create(w.ctx, install))
	install.Status.ResourceID, install.Status.Scopes = "res-1", []v1alpha1.Scope{"read:confluence-content.all"}
	must(w.t, w.k8s.Status().Update(w.ctx, install))
}

// hang has an answer begin, and not go on until the returned function is called. begun is closed when somebody asked.
func (w *world) hang() (answer http.HandlerFunc, begun chan struct{}, release func()) {
	begun, held := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(begun) })
	release = sync.OnceFunc(func() { close(held) })
	w.t.Cleanup(release)
	return func(rw http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(rw).Flush()
		once()
		select {
		case <-held:
		case <-r.Context().Done():
		}
	}, begun, release
}

// inBackground reconciles an object that may hang.
func (w *world) inBackground(reconcile func(), begun <-chan struct{}) {
	w.t.Helper()
	var done sync.WaitGroup
	w.t.Cleanup(done.Wait)
	done.Go(reconcile)
	select {
	case <-begun:
	case <-time.After(patience):
		w.t.Fatal("nobody was asked")
	}
}

// Whom an e-mail address leads to is what the binding's own install says, whatever others say of the same zone.
func TestUsersOfOneInstallAreNotAnothers(t *testing.T) {
	w := newWorld(t, identifiedByID)
	install := w.install()
	must(t, w.k8s.Create(w.ctx, install))
	w.reconcileResource(install)
	asked := 0
	w.hostile(w.stranger(map[string]http.HandlerFunc{"GET /zones/{zone}/users": func(rw http.ResponseWriter, _ *http.Request) {
		asked++
		writeJSON(rw, `{"items":[{"id":"m","identifier":"mallory","email":"`+user+`","email_verified":true}],"pagination":{}}`)
	}}))
	first, second := w.binding("first"), w.binding("second")
	first.Spec.ResourceRef.Name = "hostile"
	must(t, w.k8s.Create(w.ctx, first))
	must(t, w.k8s.Create(w.ctx, second))
	w.reconcileBinding(first)
	if asked != 1 {
		t.Fatalf("the other server was asked %d times", asked)
	}
	w.reconcileBinding(second)
	w.expect(second, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if got := second.Status.User; got != userID {
		t.Errorf("the user is taken for %q", got)
	}
}

// A management API that hangs takes no place at the zone.
func TestASlowLookUpHoldsNobodyUp(t *testing.T) {
	w := newWorld(t, identifiedByID)
	w.bindings.Gates = throttle.New(1, w.clock)
	install := w.install()
	must(t, w.k8s.Create(w.ctx, install))
	w.reconcileResource(install)
	users, begun, release := w.hang()
	w.hostile(w.stranger(map[string]http.HandlerFunc{"GET /zones/{zone}/users": users}))
	slow, other := w.binding("slow"), w.binding("other")
	slow.Spec.ResourceRef.Name = "hostile"
	must(t, w.k8s.Create(w.ctx, slow))
	must(t, w.k8s.Create(w.ctx, other))
	w.inBackground(func() {
		_, _ = w.bindings.Reconcile(w.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(slow)})
	}, begun)
	w.reconcileBinding(other)
	w.expect(other, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	release()
}

// behindAnother gives a binding whose zone has room for one, where another is, and notes whom the zone calls.
func (w *world) behindAnother(called *[]string) *v1alpha1.ConfluenceTokenBinding {
	w.t.Helper()
	w.bindings.Gates = throttle.New(1, w.clock)
	w.bindings.Gates.OnCall(func(id string) { *called = append(*called, id) })
	install, binding := w.install(), w.binding("reports")
	must(w.t, w.k8s.Create(w.ctx, install))
	must(w.t, w.k8s.Create(w.ctx, binding))
	w.reconcileResource(install)
	w.bindings.Gates.Enter(w.zone.Issuer, "other", w.clock.Now(), false)
	return binding
}

// Who waits in line looks nobody up, however often it looks for itself; nor does one for whom there is no room at the
// management API, who lets the next in line go.
func TestNobodyIsLookedUpInLine(t *testing.T) {
	w := newWorld(t, identifiedByID)
	var called []string
	binding := w.behindAnother(&called)
	w.bindings.Gates.Enter(w.zone.Issuer, "another/one", w.clock.Now().Add(time.Hour), false)
	for range 3 {
		if wait := w.reconcileBinding(binding).RequeueAfter; wait < time.Second {
			t.Errorf("it looks again in %s", wait)
		}
	}
	w.bindings.Gates.Leave(w.zone.Issuer, throttle.Answer{Answered: true})
	if n := w.requests.count(lookup); n != 0 {
		t.Errorf("%d look-ups in line", n)
	}
	inside := 0
	for w.bindings.LookUps.Enter(w.zone.APIURL, "x", w.clock.Now(), false) == throttle.Go {
		inside++
	}
	if wait := w.reconcileBinding(binding).RequeueAfter; wait < time.Second {
		t.Errorf("it looks again in %s", wait)
	}
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionUnknown, v1alpha1.ReasonProgressing)
	for range inside {
		w.bindings.LookUps.Leave(w.zone.APIURL, throttle.Answer{Answered: true})
	}
	if n := w.requests.count(lookup); n != 0 {
		t.Errorf("%d look-ups in line", n)
	}
	if want := []string{client.ObjectKeyFromObject(binding).String(), "another/one"}; !slices.Equal(called, want) {
		t.Errorf("called %v, want %v", called, want)
	}
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// One who is called and turns out to name nobody lets the next in line go.
func TestAFailedLookUpLetsTheNextGo(t *testing.T) {
	w := newWorld(t, identifiedByID)
	var called []string
	binding := w.behindAnother(&called)
	w.reconcileBinding(binding)
	w.bindings.Gates.Enter(w.zone.Issuer, "another/one", w.clock.Now().Add(time.Hour), false)
	w.bindings.Gates.Leave(w.zone.Issuer, throttle.Answer{Answered: true})
	defer w.requests.answer(lookup, func(rw http.ResponseWriter, _ *http.Request) {
		writeJSON(rw, `{"items":[{"id":"u","identifier":"`+strings.Repeat("u", 2000)+`","email":"`+user+`","email_verified":true}],"pagination":{}}`)
	})()
	w.reconcileBinding(binding)
	message := w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionFalse, v1alpha1.ReasonUserNotIdentified)
	if !strings.Contains(message, "longer than 1024 bytes") || len(message) > 1000 {
		t.Errorf("the message is %s", message)
	}
	if want := []string{client.ObjectKeyFromObject(binding).String(), "another/one"}; !slices.Equal(called, want) {
		t.Errorf("called %v, want %v", called, want)
	}
}

// An install that names the same zone id, and a management API that hangs, holds no other install up.
func TestAHangingInstallHoldsNobodyUp(t *testing.T) {
	w := newWorld(t)
	providers, begun, release := w.hang()
	hostile, install := w.install(), w.install()
	hostile.Name, hostile.Spec.Zone.APIURL = "hostile", w.stranger(map[string]http.HandlerFunc{
		"GET /zones/{zone}": func(rw http.ResponseWriter, _ *http.Request) {
			writeJSON(rw, `{"id":"`+w.zone.ZoneID+`","protocols":{"oauth2":{"redirect_uri":"https://evil.example/redirect"}}}`)
		},
		"GET /zones/{zone}/providers": providers,
	})
	must(t, w.k8s.Create(w.ctx, hostile))
	must(t, w.k8s.Create(w.ctx, install))
	var hangs atomic.Bool
	hangs.Store(true)
	w.inBackground(func() {
		_, _ = w.resources.Reconcile(w.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(hostile)})
		hangs.Store(false)
	}, begun)
	w.reconcileResource(install)
	if !hangs.Load() {
		t.Error("it waited for the other install")
	}
	w.expect(install, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	release()
}
