// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tenancy

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
	"github.com/keycardai/keycard-operator/controllers/tokenbinding"
	"github.com/keycardai/keycard-operator/internal/throttle"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// stranger is a management API of somebody's own, which answers what begins with a path.
func stranger(w *world.World, answers map[string]http.HandlerFunc) string {
	w.T.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /service-account-token", func(rw http.ResponseWriter, _ *http.Request) {
		world.WriteJSON(rw, `{"access_token":"x","token_type":"Bearer","expires_in":3600}`)
	})
	for path, answer := range answers {
		mux.HandleFunc(path, answer)
	}
	server := httptest.NewServer(mux)
	w.T.Cleanup(server.Close)
	return server.URL
}

// hostile makes an install that names the world's zone, and as its management API another server.
func hostile(w *world.World, apiURL string) {
	w.T.Helper()
	install := w.Install()
	install.Name, install.Spec.Zone.APIURL = "hostile", apiURL
	must.Succeed(w.T, w.K8s.Create(w.Ctx, install))
	install.Status.ResourceID, install.Status.Scopes = "res-1", []v1alpha1.Scope{"read:confluence-content.all"}
	must.Succeed(w.T, w.K8s.Status().Update(w.Ctx, install))
}

// hang has an answer begin, and not go on until the returned function is called. begun is closed when somebody asked.
func hang(w *world.World) (answer http.HandlerFunc, begun chan struct{}, release func()) {
	begun, held := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(begun) })
	release = sync.OnceFunc(func() { close(held) })
	w.T.Cleanup(release)
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
func inBackground(w *world.World, reconcile func(), begun <-chan struct{}) {
	w.T.Helper()
	var done sync.WaitGroup
	w.T.Cleanup(done.Wait)
	done.Go(reconcile)
	select {
	case <-begun:
	case <-time.After(world.Patience):
		w.T.Fatal("nobody was asked")
	}
}

// Whom an e-mail address leads to is what the binding's own install says, whatever others say of the same zone.
func TestUsersOfOneInstallAreNotAnothers(t *testing.T) {
	w := world.New(t, world.IdentifiedByID)
	install := w.Install()
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	w.ReconcileResource(install)
	asked := 0
	hostile(w, stranger(w, map[string]http.HandlerFunc{"GET /zones/{zone}/users": func(rw http.ResponseWriter, _ *http.Request) {
		asked++
		world.WriteJSON(rw, `{"items":[{"id":"m","identifier":"mallory","email":"`+world.User+`","email_verified":true}],"pagination":{}}`)
	}}))
	first, second := w.Binding("first"), w.Binding("second")
	first.Spec.ResourceRef.Name = "hostile"
	must.Succeed(t, w.K8s.Create(w.Ctx, first))
	must.Succeed(t, w.K8s.Create(w.Ctx, second))
	w.ReconcileBinding(first)
	if asked != 1 {
		t.Fatalf("the other server was asked %d times", asked)
	}
	w.ReconcileBinding(second)
	w.Expect(second, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if got := second.Status.User; got != world.UserID {
		t.Errorf("the user is taken for %q", got)
	}
}

// A management API that hangs takes no place at the zone.
func TestASlowLookUpHoldsNobodyUp(t *testing.T) {
	w := world.New(t, world.IdentifiedByID)
	w.Rebuild(func(d *tokenbinding.Deps) { d.Gates = throttle.New(1, w.Clock) })
	install := w.Install()
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	w.ReconcileResource(install)
	users, begun, release := hang(w)
	hostile(w, stranger(w, map[string]http.HandlerFunc{"GET /zones/{zone}/users": users}))
	slow, other := w.Binding("slow"), w.Binding("other")
	slow.Spec.ResourceRef.Name = "hostile"
	must.Succeed(t, w.K8s.Create(w.Ctx, slow))
	must.Succeed(t, w.K8s.Create(w.Ctx, other))
	inBackground(w, func() {
		_, _ = w.Bindings.Reconcile(w.Ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(slow)})
	}, begun)
	w.ReconcileBinding(other)
	w.Expect(other, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	release()
}

// behindAnother gives a binding whose zone has room for one, where another is, and notes whom the zone calls.
func behindAnother(w *world.World, called *[]string) *v1alpha1.ConfluenceTokenBinding {
	w.T.Helper()
	w.Rebuild(func(d *tokenbinding.Deps) { d.Gates = throttle.New(1, w.Clock) })
	w.Deps.Gates.OnCall(func(id string) { *called = append(*called, id) })
	install, binding := w.Install(), w.Binding("reports")
	must.Succeed(w.T, w.K8s.Create(w.Ctx, install))
	must.Succeed(w.T, w.K8s.Create(w.Ctx, binding))
	w.ReconcileResource(install)
	w.Deps.Gates.Enter(w.Zone.Issuer, "other", w.Clock.Now(), false)
	return binding
}

// Who waits in line looks nobody up, however often it looks for itself; nor does one for whom there is no room at the
// management API, who lets the next in line go.
func TestNobodyIsLookedUpInLine(t *testing.T) {
	w := world.New(t, world.IdentifiedByID)
	var called []string
	binding := behindAnother(w, &called)
	w.Deps.Gates.Enter(w.Zone.Issuer, "another/one", w.Clock.Now().Add(time.Hour), false)
	for range 3 {
		if wait := w.ReconcileBinding(binding).RequeueAfter; wait < time.Second {
			t.Errorf("it looks again in %s", wait)
		}
	}
	w.Deps.Gates.Leave(w.Zone.Issuer, throttle.Answer{Answered: true})
	if n := w.Requests.Count(world.Lookup); n != 0 {
		t.Errorf("%d look-ups in line", n)
	}
	inside := 0
	for w.Deps.LookUps.Enter(w.Zone.APIURL, "x", w.Clock.Now(), false) == throttle.Go {
		inside++
	}
	if wait := w.ReconcileBinding(binding).RequeueAfter; wait < time.Second {
		t.Errorf("it looks again in %s", wait)
	}
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionUnknown, v1alpha1.ReasonProgressing)
	for range inside {
		w.Deps.LookUps.Leave(w.Zone.APIURL, throttle.Answer{Answered: true})
	}
	if n := w.Requests.Count(world.Lookup); n != 0 {
		t.Errorf("%d look-ups in line", n)
	}
	if want := []string{client.ObjectKeyFromObject(binding).String(), "another/one"}; !slices.Equal(called, want) {
		t.Errorf("called %v, want %v", called, want)
	}
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// One who is called and turns out to name nobody lets the next in line go.
func TestAFailedLookUpLetsTheNextGo(t *testing.T) {
	w := world.New(t, world.IdentifiedByID)
	var called []string
	binding := behindAnother(w, &called)
	w.ReconcileBinding(binding)
	w.Deps.Gates.Enter(w.Zone.Issuer, "another/one", w.Clock.Now().Add(time.Hour), false)
	w.Deps.Gates.Leave(w.Zone.Issuer, throttle.Answer{Answered: true})
	defer w.Requests.Answer(world.Lookup, func(rw http.ResponseWriter, _ *http.Request) {
		world.WriteJSON(rw, `{"items":[{"id":"u","identifier":"`+strings.Repeat("u", 2000)+`","email":"`+world.User+`","email_verified":true}],"pagination":{}}`)
	})()
	w.ReconcileBinding(binding)
	message := w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionFalse, v1alpha1.ReasonUserNotIdentified)
	if !strings.Contains(message, "more than 1024 bytes") || len(message) > 1000 {
		t.Errorf("the message is %s", message)
	}
	if want := []string{client.ObjectKeyFromObject(binding).String(), "another/one"}; !slices.Equal(called, want) {
		t.Errorf("called %v, want %v", called, want)
	}
}

// An install that names the same zone id, and a management API that hangs, holds no other install up.
func TestAHangingInstallHoldsNobodyUp(t *testing.T) {
	w := world.New(t)
	providers, begun, release := hang(w)
	hostile, install := w.Install(), w.Install()
	hostile.Name, hostile.Spec.Zone.APIURL = "hostile", stranger(w, map[string]http.HandlerFunc{
		"GET /zones/{zone}": func(rw http.ResponseWriter, _ *http.Request) {
			world.WriteJSON(rw, `{"id":"`+w.Zone.ZoneID+`","protocols":{"oauth2":{"redirect_uri":"https://evil.example/redirect"}}}`)
		},
		"GET /zones/{zone}/providers": providers,
	})
	must.Succeed(t, w.K8s.Create(w.Ctx, hostile))
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	var hangs atomic.Bool
	hangs.Store(true)
	inBackground(w, func() {
		_, _ = w.Resources.Reconcile(w.Ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(hostile)})
		hangs.Store(false)
	}, begun)
	w.ReconcileResource(install)
	if !hangs.Load() {
		t.Error("it waited for the other install")
	}
	w.Expect(install, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	release()
}
