// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
)

func TestDecideRestart(t *testing.T) {
	first, second := noon, noon.Add(40*time.Minute)
	long, recent, future := noon.Add(10*time.Minute), noon.Add(50*time.Minute), noon.Add(24*time.Hour)
	tests := map[string]struct {
		facts restartFacts
		want  restartAction
	}{
		"no token yet":                         {restartFacts{}, restartNone},
		"the first token":                      {restartFacts{held: first, token: first}, restartNone},
		"nothing is remembered":                {restartFacts{held: second}, restartNone},
		"the second token":                     {restartFacts{held: second, token: first}, restartNow},
		"the same token after a restart":       {restartFacts{held: second, token: second, at: long}, restartNone},
		"the next token, long after":           {restartFacts{held: second, token: first, at: long}, restartNow},
		"the next token, soon after":           {restartFacts{held: second, token: first, at: recent}, restartLater},
		"a token that is older":                {restartFacts{held: first, token: second, at: long}, restartNow},
		"the token does not work":              {restartFacts{token: first, at: long}, restartNone},
		"the token does not work, some missed": {restartFacts{token: first, at: long, owed: true}, restartNone},
		"some were missed":                     {restartFacts{held: second, token: second, at: recent, owed: true}, restartAgain},
		"some were missed, the next token":     {restartFacts{held: second, token: first, at: long, owed: true}, restartNow},
		"some were missed, too soon":           {restartFacts{held: second, token: first, at: recent, owed: true}, restartAgain},
		"all were missed":                      {restartFacts{held: second, token: first, owed: true}, restartNow},
		"the clock was wrong":                  {restartFacts{held: second, token: first, at: future}, restartNow},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			tc.facts.now, tc.facts.interval = noon.Add(time.Hour), 30*time.Minute
			if got := decideRestart(tc.facts); got != tc.want {
				t.Errorf("decides %d, want %d", got, tc.want)
			}
		})
	}
}

// Lives of workloads: tokens change, the process is killed between the patches and the status, reconciles come for no reason.
// They are never restarted closer than the interval, never without another token, and they have the newest token when the
// interval is over.
func TestRestartLives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		interval := time.Duration(rapid.IntRange(30, 1440).Draw(t, "interval")) * time.Minute
		now := noon
		f := restartFacts{interval: interval, held: now, token: now}
		has, restarted := now, time.Time{} // which token the workloads have, and since when
		for range 60 {
			now = now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "minutes")) * time.Minute)
			if rapid.Bool().Draw(t, "rotates") {
				f.held = now
			}
			f.now = now
			switch act := decideRestart(f); act {
			case restartNow:
				if has.Equal(f.held) {
					t.Fatal("a restart without another token")
				}
				if !restarted.IsZero() && now.Sub(restarted) < interval {
					t.Fatalf("a restart %s after the last", now.Sub(restarted))
				}
				has, restarted = f.held, now
				if rapid.Bool().Draw(t, "killed") { // it starts again at once, and repeats the patches
					if again := decideRestart(f); again != restartNow {
						t.Fatalf("after a kill it decides %d", again)
					}
				}
				f.token, f.at = f.held, now
				if again := decideRestart(f); again != restartNone {
					t.Fatalf("after a restart it decides %d", again)
				}
			case restartLater:
				if now.Sub(f.at) >= interval {
					t.Fatalf("puts off a restart %s after the last", now.Sub(f.at))
				}
			case restartNone:
				if !has.Equal(f.held) {
					t.Fatal("the workloads keep an old token")
				}
			default:
				t.Fatalf("decides %d", act)
			}
		}
	})
}

// What a restart did not reach is said with its remedy, and what may pass is tried sooner than what needs a person.
func TestReach(t *testing.T) {
	tests := map[string]struct {
		reach  reach
		reason string
		kind   problem.Kind
		retry  bool
	}{
		"missing":               {reach{missing: []string{"Deployment a"}}, v1alpha1.ReasonRestartTargetNotFound, problem.KindBlocked, false},
		"failed":                {reach{failed: []string{"Deployment a"}, passes: true}, v1alpha1.ReasonRestartFailed, problem.KindTransient, true},
		"refused":               {reach{failed: []string{"Deployment a"}}, v1alpha1.ReasonRestartFailed, problem.KindPerson, true},
		"forbidden":             {reach{forbidden: []string{"Deployment a"}, permit: "kubectl x", passes: true}, v1alpha1.ReasonRestartForbidden, problem.KindPerson, true},
		"forbidden and missing": {reach{forbidden: []string{"Deployment a"}, missing: []string{"Deployment b"}, permit: "kubectl x"}, v1alpha1.ReasonRestartForbidden, problem.KindPerson, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := tc.reach.problem()
			if p.Reason != tc.reason || p.Kind != tc.kind || tc.reach.retriable() != tc.retry {
				t.Errorf("%+v, tried again: %v", p, tc.reach.retriable())
			}
			if !strings.Contains(p.Message, "Deployment a") || strings.Contains(p.Message, "%!") {
				t.Errorf("the message is %q", p.Message)
			}
			if tc.kind == problem.KindPerson && refresh.Pause(p, 1, 0, "uid") < 10*time.Minute {
				t.Error("it is tried more than six times an hour")
			}
		})
	}
	if p := (reach{done: 1}).problem(); p != nil {
		t.Errorf("all were reached: %v", p)
	}
}

// Restarts are said apart from Ready, the same findings give the same status, and nothing of them stays when they are not
// asked for any more.
func TestReportRestart(t *testing.T) {
	s := holding(noon.Add(time.Minute), "e")
	show := func() string {
		s.report("", nil)
		again := s.binding.Status.DeepCopy()
		s.report("", nil)
		if len(again.Conditions) != len(s.binding.Status.Conditions) || !meta.IsStatusConditionTrue(s.binding.Status.Conditions, v1alpha1.ConditionReady) {
			t.Errorf("the conditions are %v", s.binding.Status.Conditions)
		}
		c := meta.FindStatusCondition(s.binding.Status.Conditions, v1alpha1.ConditionRestarted)
		if c == nil {
			return "absent"
		}
		return string(c.Status) + " " + c.Reason
	}
	spec := &v1alpha1.Restart{}
	steps := []struct {
		name    string
		spec    *v1alpha1.Restart
		rollout rollout
		want    string
	}{
		{"not asked for", nil, rollout{}, "absent"},
		{"no token yet", spec, rollout{}, "Unknown Pending"},
		{"the first token", spec, rollout{token: noon}, "True RestartNotNeeded"},
		{"restarted", spec, rollout{token: noon, at: noon, tried: true}, "True Restarted"},
		{"nothing new", spec, rollout{token: noon, at: noon}, "True Restarted"},
		{"too soon", spec, rollout{token: noon, at: noon, waits: true}, "False RestartPending"},
		{"fails", spec, rollout{token: noon, at: noon, tried: true, problem: problem.Blocked(v1alpha1.ReasonRestartTargetNotFound, "m")}, "False RestartTargetNotFound"},
		{"waits after the failure", spec, rollout{token: noon, at: noon}, "False RestartTargetNotFound"},
		{"not asked for any more", nil, rollout{token: noon, at: noon}, "absent"},
	}
	for _, step := range steps {
		s.binding.Spec.Restart, s.rollout = step.spec, step.rollout
		if got := show(); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
		last := s.binding.Status.Restart
		if remembers := last != nil; remembers != (step.spec != nil && !step.rollout.token.IsZero()) {
			t.Errorf("%s: remembers %v", step.name, last)
		} else if remembers && (last.RestartedAt == nil) != step.rollout.at.IsZero() {
			t.Errorf("%s: remembers %v", step.name, *last)
		}
	}
	s.binding.Spec.Restart = spec
	s.binding.Status.Restart = &v1alpha1.RestartStatus{TokenIssuedAt: &metav1.Time{Time: noon}, RestartedAt: &metav1.Time{Time: noon}}
	if got := rolloutOf(s.binding); !got.token.Equal(noon) || !got.at.Equal(noon) {
		t.Errorf("status gives %+v", got)
	}
}

// What a token depends on does not include who is restarted for it.
func TestRestartIsNoReasonToExchange(t *testing.T) {
	plain := newScope(&v1alpha1.ConfluenceTokenBinding{}, noon)
	b := &v1alpha1.ConfluenceTokenBinding{}
	b.Spec.Restart = &v1alpha1.Restart{Targets: []v1alpha1.RestartTarget{{Kind: "Deployment", Name: "a"}}}
	if s := newScope(b, noon); s.want != plain.want {
		t.Error("spec.restart changes what is exchanged for")
	}
}
