// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// put changes one value of a Secret.
func put(w *world.World, secret, key, value string) {
	w.T.Helper()
	s := &corev1.Secret{}
	must.Succeed(w.T, w.K8s.Get(w.Ctx, types.NamespacedName{Namespace: w.NS, Name: secret}, s))
	s.Data[key] = []byte(value)
	must.Succeed(w.T, w.K8s.Update(w.Ctx, s))
}

// A tool that stamps a Secret all the time does not make the operator ask the zone all the time with a credential that it refuses.
// Another credential is tried at once.
func TestStampsOnSecrets(t *testing.T) {
	for name, tc := range map[string]struct {
		ready  func(*world.World) *v1alpha1.ConfluenceTokenBinding
		secret string
		key    string
		good   func(*world.World) string
		bad    func(*world.World) string
	}{
		"client secret": {
			func(w *world.World) *v1alpha1.ConfluenceTokenBinding { _, b := w.Ready(); return b },
			"reports-app", v1alpha1.ClientSecretKey,
			func(*world.World) string { return world.ReportsSecret },
			func(*world.World) string { return "wrong" },
		},
		"access token": {
			(*world.World).Portal, "portal-session", "access_token",
			func(w *world.World) string { return w.SignIn().AccessToken },
			func(*world.World) string { return "wrong" },
		},
		"session": {
			(*world.World).Session, "alice-session", "refresh_token",
			func(w *world.World) string { return w.SignIn().RefreshToken },
			func(*world.World) string { return "wrong" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t, world.SignsIn)
			b := tc.ready(w)
			put(w, tc.secret, tc.key, tc.bad(w))
			w.Due(b)
			w.Requests.Take()
			for i := range 20 {
				w.ReconcileBinding(b)
				w.Clock.Step(10 * time.Second)
				w.Label(tc.secret, fmt.Sprint(i))
			}
			if n := w.Requests.Count(world.Exchanges); n != 1 {
				t.Errorf("the zone was asked %d times with one credential", n)
			}
			w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
			looks := w.LooksAt(tc.secret)
			w.ReconcileBinding(b)
			w.ReconcileBinding(b)
			if n := looks(); n != 1 {
				t.Errorf("%d looks at the Secret for one edit", n)
			}
			put(w, tc.secret, tc.key, tc.good(w))
			w.ReconcileBinding(b)
			w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
		})
	}
}

// A token that waits to be written is for the values of the Secrets that it was exchanged with, and not for their versions.
func TestStampsWhileATokenWaits(t *testing.T) {
	for name, tc := range map[string]struct {
		edit func(*world.World)
		more int
	}{
		"client Secret is labelled":  {func(w *world.World) { w.Label("reports-app", "edited") }, 0},
		"subject Secret is labelled": {func(w *world.World) { w.Label("portal-session", "edited") }, 0},
		"subject is another":         {func(w *world.World) { put(w, "portal-session", "access_token", w.SignIn().AccessToken) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t, world.SignsIn)
			b := w.Portal()
			w.Due(b)
			undo := w.Writes.StandIn("PATCH /api/v1/namespaces/"+w.NS+"/secrets/", world.ClusterAnswer(http.StatusServiceUnavailable, "{}"))
			w.Clock.Step(w.ReconcileBinding(b).RequeueAfter)
			wait := w.ReconcileBinding(b).RequeueAfter // this one read nothing of them
			undo()
			tc.edit(w)
			w.Clock.Step(wait)
			if n := w.ExchangesOf(b, 1); n != tc.more {
				t.Errorf("%d exchanges more, want %d", n, tc.more)
			}
			w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			if n := w.ExchangesOf(b, 2); n != 0 {
				t.Errorf("%d exchanges after that", n)
			}
		})
	}
}

// The operator's own write of a session's refresh token does not end the pause after a refusal.
func TestOwnWriteIsNoStamp(t *testing.T) {
	w := world.New(t, world.SignsIn)
	b := w.Session()
	put(w, "alice-session", "refresh_token", w.SignIn().RefreshToken)
	w.Due(b)
	w.RefuseAfterRefresh()
	if n := w.ExchangesOf(b, 1); n != 2 {
		t.Errorf("the zone was asked %d times, want a refresh and a refused exchange", n)
	}
	if n := w.ExchangesOf(b, 3); n != 0 {
		t.Errorf("the zone was asked %d times in the pause", n)
	}
	w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
}

// Another session is taken up also when its first exchange fails, though its Secret has the operator's own write by then, and
// the present token has time.
func TestAnotherSessionIsTakenUpLater(t *testing.T) {
	w := world.New(t, world.SignsIn)
	b := w.Session()
	w.Clock.Step(time.Minute)
	before := string(w.Output(b).Data["token"])
	put(w, "alice-session", "refresh_token", w.SignIn().RefreshToken)
	undo := w.RefuseAfterRefresh()
	w.ReconcileBinding(b)
	wait := w.ReconcileBinding(b).RequeueAfter
	w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	undo()
	w.Clock.Step(wait)
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	if string(w.Output(b).Data["token"]) == before {
		t.Error("the token is the other session's")
	}
	if n := w.ExchangesOf(b, 2); n != 0 {
		t.Errorf("the zone was asked %d times after that", n)
	}
}
