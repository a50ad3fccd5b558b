// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"pgregory.net/rapid"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/tokensecret"
)

func holding(now time.Time, hash string) *look {
	l := newLook(&v1alpha1.ConfluenceTokenBinding{}, now)
	l.want.Exchange, l.target.Install = "e", &v1alpha1.KeycardResource{}
	l.secret.Held = &tokensecret.Held{
		Life: refresh.NewLife(noon, time.Hour), Note: tokensecret.Note{Made: tokensecret.Wanted{Exchange: hash, Spec: l.want.Spec}},
	}
	l.secret.Intact = true
	return l
}

// The states that tools which wait for the object tell apart.
func TestStateMatrix(t *testing.T) {
	passing := &problem.Problem{Kind: problem.KindTransient, Reason: v1alpha1.ReasonZoneUnreachable, Cause: "down"}
	person := &problem.Problem{Kind: problem.KindPerson, Reason: v1alpha1.ReasonConsentRequired, Cause: "consent"}
	empty := func() *look { return newLook(&v1alpha1.ConfluenceTokenBinding{}, noon) }
	suspended := func(s *look) *look { s.binding.Spec.Suspend = new(true); return s }
	noInstall := func(now time.Time) *look {
		s := holding(now, "e")
		s.want.Exchange, s.target.Install = "", nil
		return s
	}
	otherSpec := func(now time.Time) *look { s := noInstall(now); s.secret.Held.Made.Spec = "old"; return s }
	tampered := func(now time.Time) *look { s := holding(now, "e"); s.secret.Intact = false; return s }
	early, late, after := noon.Add(45*time.Minute), noon.Add(59*time.Minute), noon.Add(61*time.Minute)
	tests := map[string]struct {
		look *look
		at   refresh.Stage
		p    *problem.Problem
		// ready is "status reason"; mover is Reconciling, Stalled or "".
		ready, token, mover string
	}{
		"healthy":                         {holding(early, "e"), refresh.NoStage, nil, "True Ready", "True Issued", ""},
		"failing early":                   {holding(early, "e"), refresh.StageToken, passing, "True Ready", "True RefreshFailing", ""},
		"failing early, needs a person":   {holding(early, "e"), refresh.StageToken, person, "True Ready", "True RefreshFailing", ""},
		"about to expire":                 {holding(late, "e"), refresh.StageToken, passing, "False TokenExpiring", "True RefreshFailing", "Reconciling"},
		"about to expire, needs a person": {holding(late, "e"), refresh.StageToken, person, "False TokenExpiring", "True RefreshFailing", "Stalled"},
		"expired":                         {holding(after, "e"), refresh.StageToken, passing, "False TokenExpired", "False ZoneUnreachable", "Reconciling"},
		"expired, needs a person":         {holding(after, "e"), refresh.StageToken, person, "False ConsentRequired", "False ConsentRequired", "Stalled"},
		"expired, the zone has no newer":  {holding(after, "e"), refresh.NoStage, nil, "False TokenExpired", "False TokenExpired", "Reconciling"},
		"never issued":                    {empty(), refresh.StageToken, passing, "False ZoneUnreachable", "False ZoneUnreachable", "Reconciling"},
		"never issued, needs a person":    {empty(), refresh.StageToken, person, "False ConsentRequired", "False ConsentRequired", "Stalled"},
		"for another spec, no install":    {otherSpec(early), refresh.StageInstall, &problem.Problem{Kind: problem.KindWaiting, Reason: v1alpha1.ReasonResourceNotFound, Cause: "none"}, "False ResourceNotFound", "Unknown Pending", "Reconciling"},
		"same spec, no install":           {noInstall(early), refresh.StageInstall, &problem.Problem{Kind: problem.KindWaiting, Reason: v1alpha1.ReasonResourceNotFound, Cause: "none"}, "True Ready", "True RefreshFailing", ""},
		"somebody changed the Secret":     {tampered(early), refresh.StageToken, passing, "False ZoneUnreachable", "False ZoneUnreachable", "Reconciling"},
		"for another spec":                {holding(early, "old"), refresh.StageToken, passing, "False ZoneUnreachable", "False ZoneUnreachable", "Reconciling"},
		"no install":                      {empty(), refresh.StageInstall, &problem.Problem{Kind: problem.KindWaiting, Reason: v1alpha1.ReasonResourceNotFound, Cause: "none"}, "False ResourceNotFound", "Unknown Pending", "Reconciling"},
		"a foreign Secret":                {empty(), refresh.StageSecret, &problem.Problem{Kind: problem.KindBlocked, Reason: v1alpha1.ReasonSecretConflict, Cause: "theirs"}, "False SecretConflict", "Unknown Pending", "Stalled"},
		"suspended":                       {suspended(holding(early, "e")), refresh.NoStage, nil, "True Suspended", "True Issued", ""},
		"suspended and expired":           {suspended(holding(after, "e")), refresh.NoStage, nil, "False Suspended", "False TokenExpired", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			tc.look.report(tc.at, tc.p)
			show := func(conditionType string) string {
				c := meta.FindStatusCondition(tc.look.binding.Status.Conditions, conditionType)
				return fmt.Sprintf("%s %s", c.Status, c.Reason)
			}
			if got := show(v1alpha1.ConditionReady); got != tc.ready {
				t.Errorf("Ready is %s, want %s", got, tc.ready)
			}
			if got := show(v1alpha1.ConditionTokenIssued); got != tc.token {
				t.Errorf("TokenIssued is %s, want %s", got, tc.token)
			}
			for _, mover := range []string{v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled} {
				if there := meta.IsStatusConditionTrue(tc.look.binding.Status.Conditions, mover); there != (mover == tc.mover) {
					t.Errorf("%s is there: %v", mover, there)
				}
			}
		})
	}
}

// Whatever happened, status is consistent, and the same findings give the same status.
func TestReportIsConsistent(t *testing.T) {
	kinds := []problem.Kind{problem.KindWaiting, problem.KindBlocked, problem.KindPerson, problem.KindTransient, problem.KindThrottled}
	steps := []refresh.Stage{refresh.StageInstall, refresh.StageToken, refresh.StageSecret}
	rapid.Check(t, func(t *rapid.T) {
		now := noon.Add(time.Duration(rapid.IntRange(-10, 5000).Draw(t, "seconds")) * time.Second)
		s := holding(now, rapid.SampledFrom([]string{"e", "old"}).Draw(t, "hash"))
		if rapid.Bool().Draw(t, "empty") {
			s.secret.Held = nil
		}
		s.binding.Spec.Suspend = new(rapid.Bool().Draw(t, "suspended"))
		for range 3 { // a history
			at, p := refresh.NoStage, (*problem.Problem)(nil)
			if s.secret.Held == nil || rapid.Bool().Draw(t, "fails") {
				at = rapid.SampledFrom(steps).Draw(t, "step")
				p = &problem.Problem{Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Reason: "Why", Cause: "because"}
			}
			s.report(at, p)
			again := s.binding.Status.DeepCopy()
			s.report(at, p)
			if !equality.Semantic.DeepEqual(*again, s.binding.Status) {
				t.Fatalf("reporting again changed\n%+v to\n%+v", *again, s.binding.Status)
			}
		}
		seen := map[string]bool{}
		for _, c := range s.binding.Status.Conditions {
			if seen[c.Type] || c.Reason == "" || strings.Contains(c.Message, "2026") {
				t.Errorf("condition %+v", c)
			}
			seen[c.Type] = true
		}
		if seen[v1alpha1.ConditionReconciling] && seen[v1alpha1.ConditionStalled] {
			t.Error("Reconciling and Stalled are both there")
		}
		ready := meta.IsStatusConditionTrue(s.binding.Status.Conditions, v1alpha1.ConditionReady)
		if ready && (s.secret.Held == nil || s.secret.Held.Life.Expired(now) || s.secret.Held.Made.Exchange != "e") {
			t.Error("Ready without a token that works")
		}
		if !ready && s.secret.Held != nil && s.secret.Held.Made.Exchange == "e" && now.Before(refresh.FloorAt(s.secret.Held.Life)) {
			t.Error("not Ready with a token that works")
		}
	})
}
