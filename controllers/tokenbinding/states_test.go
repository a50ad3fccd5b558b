// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/golden"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/subject"
	"github.com/keycardai/keycard-operator/internal/tokensecret"
)

// Moments in the life of a token of an hour that was issued at noon.
var (
	fresh    = noon.Add(time.Minute)
	due      = noon.Add(45 * time.Minute)
	expiring = noon.Add(59 * time.Minute)
	expired  = noon.Add(61 * time.Minute)
)

// story is one binding on its way through states.
type story struct {
	binding *v1alpha1.ConfluenceTokenBinding
	held    *tokensecret.Held
}

func newStory() *story {
	return &story{binding: &v1alpha1.ConfluenceTokenBinding{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ConfluenceTokenBinding"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "reports", Name: "reports", Generation: 1, UID: "3f0c6f0e-6a0d-4f6e-9a39-0a8f0c2d5b11",
			CreationTimestamp: metav1.NewTime(noon),
		},
		Spec: v1alpha1.ConfluenceTokenBindingSpec{
			ResourceRef: v1alpha1.KeycardResourceReference{Name: "confluence", Namespace: "platform"},
			Application: v1alpha1.Application{ClientSecretRef: &v1alpha1.LocalSecretReference{Name: "reports-keycard-app"}},
			Subject:     v1alpha1.Subject{User: "alice@example.com"},
			Scopes:      []v1alpha1.Scope{"read:page:confluence"},
			Secret:      v1alpha1.OutputSecret{Name: "confluence-token"},
		},
	}}
}

// reconcile reports what a reconcile at that time found, as Reconcile does.
func (st *story) reconcile(now time.Time, at refresh.Stage, p *problem.Problem) *story {
	s := newLook(st.binding, now)
	s.want = s.want.Of("", "", nil)
	if s.target.Install = (&v1alpha1.KeycardResource{}); at == refresh.StageInstall {
		s.want.Exchange, s.target.Install = "", nil
	}
	s.secret.Held, s.secret.Intact = st.held, st.held != nil
	if st.binding.Status.ObservedGeneration == 0 {
		s.progressing()
	}
	s.report(at, p)
	st.take(s, now)
	return st
}

// take makes a scope's object the story's. The conditions that moved did so at that time, not at that of the test.
func (st *story) take(s *look, now time.Time) {
	for i := range s.binding.Status.Conditions {
		if c := &s.binding.Status.Conditions[i]; c.LastTransitionTime.Sub(noon).Abs() > 2*time.Hour {
			c.LastTransitionTime = metav1.NewTime(now)
		}
	}
	st.binding = s.binding
}

// begin reports that work has begun.
func (st *story) begin() *story {
	s := newLook(st.binding, noon)
	s.progressing()
	st.take(s, noon)
	return st
}

// issue puts a token of that lifetime into the Secret, at noon.
func (st *story) issue(lifetime time.Duration, from keycard.Lifetime) *story {
	s := newLook(st.binding, noon)
	st.held = &tokensecret.Held{
		Life: refresh.NewLife(noon, lifetime), Scopes: []string{"read:page:confluence"}, SiteURL: "https://acme.atlassian.net", CloudID: "11223344-a1b2-4c33-9d55-6677889900aa",
		Note: tokensecret.Note{Made: s.want.Of("", "", nil), Lifetime: from},
	}
	return st.reconcile(fresh, refresh.NoStage, nil)
}

// edit changes the spec.
func (st *story) edit(change func(*v1alpha1.ConfluenceTokenBindingSpec)) *story {
	change(&st.binding.Spec)
	st.binding.Generation++
	return st
}

// The states that a binding can be in, each as the API server has it. Tools that judge the health of a binding are tested
// with these files.
func TestStates(t *testing.T) {
	down := problem.Of(&keycard.Error{Op: "exchanging the token", Class: keycard.Transient, Status: 503})
	consent := newStory().refused(t, &keycard.Error{
		Op: "exchanging the token", Status: 400, Class: keycard.NeedsConsent, Code: "insufficient_authorization", Description: "User consent is required",
	})
	conflict := problem.SecretTaken("confluence-token", "")
	noInstall := problem.NotAdmitted(types.NamespacedName{Namespace: "platform", Name: "confluence"}, "reports", false)
	suspend := func(spec *v1alpha1.ConfluenceTokenBindingSpec) { spec.Suspend = new(true) }
	otherScopes := func(spec *v1alpha1.ConfluenceTokenBindingSpec) { spec.Scopes = []v1alpha1.Scope{"search:confluence"} }
	healthy := func() *story { return newStory().begin().issue(time.Hour, keycard.Lifetime{}) }
	for name, st := range map[string]*story{
		"new":                               newStory(),
		"progressing":                       newStory().begin(),
		"waiting-for-the-install":           newStory().reconcile(noon, refresh.StageInstall, noInstall),
		"never-issued":                      newStory().reconcile(noon, refresh.StageToken, down),
		"never-issued-needs-a-person":       newStory().reconcile(noon, refresh.StageToken, consent),
		"a-foreign-secret":                  newStory().reconcile(noon, refresh.StageSecret, conflict),
		"healthy":                           healthy(),
		"healthy-too-short-to-mount":        newStory().begin().issue(2*time.Minute, keycard.Lifetime{}),
		"healthy-lifetime-unknown":          newStory().begin().issue(5*time.Minute, keycard.Lifetime{Source: keycard.LifetimeAssumed, Announced: keycard.AnnouncementMissing}),
		"refresh-in-flight":                 healthy().inFlight(t),
		"failing-early":                     healthy().reconcile(due, refresh.StageToken, down),
		"failing-early-needs-a-person":      healthy().reconcile(due, refresh.StageToken, consent),
		"failing-early-without-the-install": healthy().reconcile(due, refresh.StageInstall, noInstall),
		"expiring":                          healthy().reconcile(expiring, refresh.StageToken, down),
		"expiring-needs-a-person":           healthy().reconcile(expiring, refresh.StageToken, consent),
		"expired":                           healthy().reconcile(expired, refresh.StageToken, down),
		"expired-needs-a-person":            healthy().reconcile(expired, refresh.StageToken, consent),
		"expired-the-zone-has-no-newer":     healthy().reconcile(expired, refresh.NoStage, nil),
		"recovered":                         healthy().reconcile(due, refresh.StageToken, down).issue(time.Hour, keycard.Lifetime{}),
		"suspended":                         healthy().edit(suspend).reconcile(due, refresh.NoStage, nil),
		"suspended-and-expired":             healthy().edit(suspend).reconcile(expired, refresh.NoStage, nil),
		"suspended-not-seen-yet":            healthy().edit(suspend),
		"stale-generation":                  healthy().edit(otherScopes),
		"stale-generation-after-a-refusal":  newStory().reconcile(noon, refresh.StageToken, consent).edit(otherScopes),
		"another-spec-and-the-zone-is-down": healthy().edit(otherScopes).reconcile(due, refresh.StageToken, down),
		"another-spec-which-needs-a-person": healthy().edit(otherScopes).reconcile(due, refresh.StageToken, consent),
		"another-spec-without-the-install":  healthy().edit(otherScopes).reconcile(due, refresh.StageInstall, noInstall),
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := yaml.Marshal(st.binding)
			if err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, filepath.Join("testdata", "states", name+".yaml"), raw)
		})
	}
}

// refused is the problem that an answer of the zone is.
func (st *story) refused(t *testing.T, err error) *problem.Problem {
	t.Helper()
	var p *problem.Problem
	if !errors.As(subject.Explain(err, subject.Context{Binding: st.binding, Resource: "https://api.atlassian.com/ex/confluence"}), &p) {
		t.Fatalf("no problem: %v", err)
	}
	return p
}

// inFlight is the time between the decision to refresh and the write of the new token. Nothing is written before.
func (st *story) inFlight(t *testing.T) *story {
	t.Helper()
	s := newLook(st.binding, due)
	s.secret.Held, s.secret.Intact = st.held, true
	s.want = s.want.Of("", "", nil)
	if _, a := refresh.Step(refresh.State{}, s.c.facts(s.scope), refresh.Event{Kind: refresh.Looked}); a.Verb != refresh.Exchange {
		t.Fatalf("no refresh is due: %s", a.Verb)
	}
	return st
}
