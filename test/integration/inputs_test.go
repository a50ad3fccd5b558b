// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// label edits a Secret, and none of its values.
func (w *world) label(secret, value string) {
	w.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: secret}}
	must(w.t, w.k8s.Patch(w.ctx, s, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"edited":"`+value+`"}}}`))))
}

// put changes one value of a Secret.
func (w *world) put(secret, key, value string) {
	w.t.Helper()
	s := &corev1.Secret{}
	must(w.t, w.k8s.Get(w.ctx, types.NamespacedName{Namespace: w.ns, Name: secret}, s))
	s.Data[key] = []byte(value)
	must(w.t, w.k8s.Update(w.ctx, s))
}

// A tool that stamps a Secret all the time does not make the operator ask the zone all the time with a credential that it refuses.
// Another credential is tried at once.
func TestStampsOnSecrets(t *testing.T) {
	for name, tc := range map[string]struct {
		ready  func(*world) *v1alpha1.ConfluenceTokenBinding
		secret string
		key    string
		good   func(*world) string
		bad    func(*world) string
	}{
		"client secret": {
			func(w *world) *v1alpha1.ConfluenceTokenBinding { _, b := w.ready(); return b },
			"reports-app", v1alpha1.ClientSecretKey,
			func(*world) string { return reportsSecret },
			func(*world) string { return "wrong" },
		},
		"access token": {
			(*world).portal, "portal-session", "access_token",
			func(w *world) string { return w.signIn().AccessToken },
			func(*world) string { return "wrong" },
		},
		"session": {
			(*world).session, "alice-session", "refresh_token",
			func(w *world) string { return w.signIn().RefreshToken },
			func(*world) string { return "wrong" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, signsIn)
			b := tc.ready(w)
			w.put(tc.secret, tc.key, tc.bad(w))
			w.due(b)
			w.requests.take()
			for i := range 20 {
				w.reconcileBinding(b)
				w.clock.Step(10 * time.Second)
				w.label(tc.secret, fmt.Sprint(i))
			}
			if n := w.requests.count(exchanges); n != 1 {
				t.Errorf("the zone was asked %d times with one credential", n)
			}
			w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
			looks := w.looksAt(tc.secret)
			w.reconcileBinding(b)
			w.reconcileBinding(b)
			if n := looks(); n != 1 {
				t.Errorf("%d looks at the Secret for one edit", n)
			}
			w.put(tc.secret, tc.key, tc.good(w))
			w.reconcileBinding(b)
			w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
		})
	}
}

// A token that waits to be written is for the values of the Secrets that it was exchanged with, and not for their versions.
func TestStampsWhileATokenWaits(t *testing.T) {
	for name, tc := range map[string]struct {
		edit func(*world)
		more int
	}{
		"client Secret is labelled":  {func(w *world) { w.label("reports-app", "edited") }, 0},
		"subject Secret is labelled": {func(w *world) { w.label("portal-session", "edited") }, 0},
		"subject is another":         {func(w *world) { w.put("portal-session", "access_token", w.signIn().AccessToken) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, signsIn)
			b := w.portal()
			w.due(b)
			undo := w.writes.standIn("PATCH /api/v1/namespaces/"+w.ns+"/secrets/", clusterAnswer(http.StatusServiceUnavailable, "{}"))
			w.clock.Step(w.reconcileBinding(b).RequeueAfter)
			wait := w.reconcileBinding(b).RequeueAfter // this one read nothing of them
			undo()
			tc.edit(w)
			w.clock.Step(wait)
			if n := w.exchangesOf(b, 1); n != tc.more {
				t.Errorf("%d exchanges more, want %d", n, tc.more)
			}
			w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			if n := w.exchangesOf(b, 2); n != 0 {
				t.Errorf("%d exchanges after that", n)
			}
		})
	}
}

// The operator's own write of a session's refresh token does not end the pause after a refusal.
func TestOwnWriteIsNoStamp(t *testing.T) {
	w := newWorld(t, signsIn)
	b := w.session()
	w.put("alice-session", "refresh_token", w.signIn().RefreshToken)
	w.due(b)
	w.refuseAfterRefresh()
	if n := w.exchangesOf(b, 1); n != 2 {
		t.Errorf("the zone was asked %d times, want a refresh and a refused exchange", n)
	}
	if n := w.exchangesOf(b, 3); n != 0 {
		t.Errorf("the zone was asked %d times in the pause", n)
	}
	w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
}

// Another session is taken up also when its first exchange fails, though its Secret has the operator's own write by then, and
// the present token has time.
func TestAnotherSessionIsTakenUpLater(t *testing.T) {
	w := newWorld(t, signsIn)
	b := w.session()
	w.clock.Step(time.Minute)
	before := string(w.output(b).Data["token"])
	w.put("alice-session", "refresh_token", w.signIn().RefreshToken)
	undo := w.refuseAfterRefresh()
	w.reconcileBinding(b)
	wait := w.reconcileBinding(b).RequeueAfter
	w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	undo()
	w.clock.Step(wait)
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	if string(w.output(b).Data["token"]) == before {
		t.Error("the token is the other session's")
	}
	if n := w.exchangesOf(b, 2); n != 0 {
		t.Errorf("the zone was asked %d times after that", n)
	}
}
