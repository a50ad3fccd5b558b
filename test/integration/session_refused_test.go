// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"net/http"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// The session's access token is remembered for the next exchange. When the zone does not take it any more, the session is
// refreshed at once; one that was got a moment before is refused for good.
func TestSessionTokenIsRefused(t *testing.T) {
	once := func(code string) func(*world) {
		return func(w *world) {
			var undo func()
			undo = w.requests.answer(exchanges, func(rw http.ResponseWriter, r *http.Request) {
				undo()
				refuse(code)(rw, r)
			})
		}
	}
	for name, tc := range map[string]struct {
		fault  func(*world)
		asked  int
		reason string
	}{
		"remembered":                    {once("invalid_grant"), 3, v1alpha1.ReasonIssued},
		"remembered, with another code": {once("invalid_request"), 3, v1alpha1.ReasonIssued},
		"remembered, but it isn't that": {once("invalid_target"), 1, v1alpha1.ReasonRefreshFailing},
		"just got": {func(w *world) {
			w.connect()
			w.refuseAfterRefresh()
		}, 2, v1alpha1.ReasonRefreshFailing},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, signsIn)
			b := w.session()
			w.due(b)
			tc.fault(w)
			w.requests.take()
			w.reconcileBinding(b)
			if n := w.requests.count(exchanges); n != tc.asked {
				t.Errorf("the zone was asked %d times, want %d", n, tc.asked)
			}
			w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, tc.reason)
			w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		})
	}
}

// refuse answers as a token endpoint does.
func refuse(code string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(rw, `{"error":%q}`, code)
	}
}

// refuseAfterRefresh lets one refresh through, and refuses exchanges after that, until the returned function is called.
func (w *world) refuseAfterRefresh() (undo func()) {
	w.requests.afterwards(func(what string) {
		if what == exchanges { // the refresh
			w.requests.answer(exchanges, refuse("invalid_grant"))
		}
	})
	return func() {
		w.requests.afterwards(nil)
		w.requests.answer("", nil)() // nothing is answered any more
	}
}
