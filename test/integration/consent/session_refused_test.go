// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package consent

import (
	"net/http"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/integration/world"
)

// The session's access token is remembered for the next exchange. When the zone does not take it any more, the session is
// refreshed at once; one that was got a moment before is refused for good.
func TestSessionTokenIsRefused(t *testing.T) {
	once := func(code string) func(*world.World) {
		return func(w *world.World) {
			var undo func()
			undo = w.Requests.Answer(world.Exchanges, func(rw http.ResponseWriter, r *http.Request) {
				undo()
				world.Refuse(code)(rw, r)
			})
		}
	}
	for name, tc := range map[string]struct {
		fault  func(*world.World)
		asked  int
		reason string
	}{
		"remembered":                    {once("invalid_grant"), 3, v1alpha1.ReasonIssued},
		"remembered, with another code": {once("invalid_request"), 3, v1alpha1.ReasonIssued},
		"remembered, but it isn't that": {once("invalid_target"), 1, v1alpha1.ReasonRefreshFailing},
		"just got": {func(w *world.World) {
			w.Connect()
			w.RefuseAfterRefresh()
		}, 2, v1alpha1.ReasonRefreshFailing},
	} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t, world.SignsIn)
			b := w.Session()
			w.Due(b)
			tc.fault(w)
			w.Requests.Take()
			w.ReconcileBinding(b)
			if n := w.Requests.Count(world.Exchanges); n != tc.asked {
				t.Errorf("the zone was asked %d times, want %d", n, tc.asked)
			}
			w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, tc.reason)
			w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		})
	}
}
