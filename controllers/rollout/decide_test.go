// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestDecide(t *testing.T) {
	first, second := noon, noon.Add(40*time.Minute)
	long, recent, future := noon.Add(10*time.Minute), noon.Add(50*time.Minute), noon.Add(24*time.Hour)
	tests := map[string]struct {
		facts facts
		want  action
	}{
		"no token yet":                         {facts{}, restartNone},
		"the first token":                      {facts{held: first, token: first}, restartNone},
		"nothing is remembered":                {facts{held: second}, restartNone},
		"the second token":                     {facts{held: second, token: first}, restartNow},
		"the same token after a restart":       {facts{held: second, token: second, at: long}, restartNone},
		"the next token, long after":           {facts{held: second, token: first, at: long}, restartNow},
		"the next token, soon after":           {facts{held: second, token: first, at: recent}, restartLater},
		"a token that is older":                {facts{held: first, token: second, at: long}, restartNow},
		"the token does not work":              {facts{token: first, at: long}, restartNone},
		"the token does not work, some missed": {facts{token: first, at: long, owed: true}, restartNone},
		"some were missed":                     {facts{held: second, token: second, at: recent, owed: true}, restartAgain},
		"some were missed, the next token":     {facts{held: second, token: first, at: long, owed: true}, restartNow},
		"some were missed, too soon":           {facts{held: second, token: first, at: recent, owed: true}, restartAgain},
		"all were missed":                      {facts{held: second, token: first, owed: true}, restartNow},
		"the clock was wrong":                  {facts{held: second, token: first, at: future}, restartNow},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			tc.facts.now, tc.facts.interval = noon.Add(time.Hour), 30*time.Minute
			if got := decide(tc.facts); got != tc.want {
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
		f := facts{interval: interval, held: now, token: now}
		has, restarted := now, time.Time{} // which token the workloads have, and since when
		for range 60 {
			now = now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "minutes")) * time.Minute)
			if rapid.Bool().Draw(t, "rotates") {
				f.held = now
			}
			f.now = now
			switch act := decide(f); act {
			case restartNow:
				if has.Equal(f.held) {
					t.Fatal("a restart without another token")
				}
				if !restarted.IsZero() && now.Sub(restarted) < interval {
					t.Fatalf("a restart %s after the last", now.Sub(restarted))
				}
				has, restarted = f.held, now
				if rapid.Bool().Draw(t, "killed") { // it starts again at once, and repeats the patches
					if again := decide(f); again != restartNow {
						t.Fatalf("after a kill it decides %d", again)
					}
				}
				f.token, f.at = f.held, now
				if again := decide(f); again != restartNone {
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
	missed := func(reasons ...v1alpha1.PendingReason) (list []v1alpha1.PendingRestart) {
		for i, reason := range reasons {
			list = append(list, v1alpha1.PendingRestart{Kind: "Deployment", Name: string(rune('a' + i)), Reason: reason})
		}
		return list
	}
	const missing, failed, forbidden = v1alpha1.ReasonRestartTargetNotFound, v1alpha1.ReasonRestartFailed, v1alpha1.ReasonRestartForbidden
	tests := map[string]struct {
		reach  reach
		reason string
		kind   problem.Kind
		retry  bool
	}{
		"missing":               {reach{pending: missed(missing)}, missing, problem.KindBlocked, false},
		"failed":                {reach{pending: missed(failed), passes: true}, failed, problem.KindTransient, true},
		"refused":               {reach{pending: missed(failed)}, failed, problem.KindPerson, true},
		"forbidden":             {reach{pending: missed(forbidden), permit: "kubectl x", passes: true}, forbidden, problem.KindPerson, true},
		"forbidden and missing": {reach{pending: missed(forbidden, missing), permit: "kubectl x"}, forbidden, problem.KindPerson, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := tc.reach.problem()
			after, _ := facts{}.after(restartAgain, tc.reach, nil, noon)
			if p.Reason != tc.reason || p.Kind != tc.kind || after.owed != tc.retry {
				t.Errorf("%+v, tried again: %v", p, after.owed)
			}
			if !strings.Contains(p.Message(), "Deployment a") || strings.Contains(p.Message(), "%!") {
				t.Errorf("the message is %q", p.Message())
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

// An attempt that reaches a workload which was pending is progress, and moves the time from which the interval counts. Another
// failure of the same workload is none.
func TestProgress(t *testing.T) {
	target := func(name string, reason v1alpha1.PendingReason) v1alpha1.PendingRestart {
		return v1alpha1.PendingRestart{Kind: "Deployment", Name: name, Reason: reason}
	}
	const missing, failed, forbidden = v1alpha1.ReasonRestartTargetNotFound, v1alpha1.ReasonRestartFailed, v1alpha1.ReasonRestartForbidden
	before := facts{held: noon.Add(time.Hour), token: noon, at: noon}
	tests := map[string]struct {
		act            action
		last, now      []v1alpha1.PendingRestart
		done           int
		moves, advance bool
	}{
		"all of them":                   {act: restartNow, done: 2, moves: true, advance: true},
		"some":                          {act: restartNow, done: 1, now: []v1alpha1.PendingRestart{target("a", failed)}, moves: true, advance: true},
		"none, for now":                 {act: restartNow, now: []v1alpha1.PendingRestart{target("a", failed)}},
		"there are none":                {act: restartNow, now: []v1alpha1.PendingRestart{target("a", missing)}, advance: true},
		"the rest":                      {act: restartAgain, done: 2, last: []v1alpha1.PendingRestart{target("a", failed)}, moves: true},
		"one more":                      {act: restartAgain, done: 2, last: []v1alpha1.PendingRestart{target("a", failed), target("b", failed)}, now: []v1alpha1.PendingRestart{target("b", failed)}, moves: true},
		"no more":                       {act: restartAgain, done: 1, last: []v1alpha1.PendingRestart{target("a", failed)}, now: []v1alpha1.PendingRestart{target("a", failed)}},
		"no more, for another reason":   {act: restartAgain, done: 1, last: []v1alpha1.PendingRestart{target("a", failed)}, now: []v1alpha1.PendingRestart{target("a", forbidden)}},
		"none of those that were there": {act: restartAgain, last: []v1alpha1.PendingRestart{target("a", failed)}, now: []v1alpha1.PendingRestart{target("b", failed)}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			at := noon.Add(2*time.Hour + time.Millisecond)
			after, progress := before.after(tc.act, reach{done: tc.done, pending: tc.now}, tc.last, at)
			if progress != tc.moves || after.at.Equal(before.at) == tc.moves {
				t.Errorf("progress: %v, restarted at %s", progress, after.at)
			}
			if after.token.Equal(before.held) != tc.advance {
				t.Errorf("the workloads have the token of %s", after.token)
			}
		})
	}
}

// binding has a token that works, or none, and names a workload.
func binding(issued bool) *v1alpha1.ConfluenceTokenBinding {
	b := &v1alpha1.ConfluenceTokenBinding{}
	b.Spec.Restart = &v1alpha1.Restart{Targets: []v1alpha1.RestartTarget{{Kind: "Deployment", Name: "a"}}, MinInterval: "1h"}
	if issued {
		b.Status.IssuedAt, b.Status.ExpiresAt = &metav1.Time{Time: noon}, &metav1.Time{Time: noon.Add(time.Hour)}
		b.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionTokenIssued, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonIssued}}
	}
	return b
}

// The facts are those of status: what it remembers is the token that is there, unless it says so.
func TestFacts(t *testing.T) {
	restarted := &metav1.Time{Time: noon.Add(-time.Hour)}
	missed := func(name string, reason v1alpha1.PendingReason) func(*v1alpha1.ConfluenceTokenBinding) {
		return func(b *v1alpha1.ConfluenceTokenBinding) {
			b.Status.Restart = &v1alpha1.RestartStatus{
				TokenIssuedAt: restarted, RestartedAt: restarted,
				Pending: []v1alpha1.PendingRestart{{Kind: "Deployment", Name: name, Reason: reason}},
			}
		}
	}
	known := facts{now: noon, interval: time.Hour, held: noon, token: restarted.Time, at: restarted.Time}
	owed := known
	owed.owed = true
	none := facts{now: noon, interval: time.Hour, token: noon}
	tests := map[string]struct {
		issued bool
		change func(*v1alpha1.ConfluenceTokenBinding)
		want   facts
	}{
		"no token":                   {false, func(*v1alpha1.ConfluenceTokenBinding) {}, facts{now: noon, interval: time.Hour}},
		"the first token":            {true, func(*v1alpha1.ConfluenceTokenBinding) {}, facts{now: noon, interval: time.Hour, held: noon, token: noon}},
		"it was for another spec":    {true, func(b *v1alpha1.ConfluenceTokenBinding) { b.Status.Conditions[0].Status = metav1.ConditionFalse }, none},
		"it has expired":             {true, func(b *v1alpha1.ConfluenceTokenBinding) { b.Status.ExpiresAt = &metav1.Time{Time: noon} }, none},
		"suspended":                  {true, func(b *v1alpha1.ConfluenceTokenBinding) { b.Spec.Suspend = new(true) }, none},
		"one failed":                 {true, missed("a", v1alpha1.ReasonRestartFailed), owed},
		"one is forbidden":           {true, missed("a", v1alpha1.ReasonRestartForbidden), owed},
		"one is missing":             {true, missed("a", v1alpha1.ReasonRestartTargetNotFound), known},
		"one is not in the list now": {true, missed("b", v1alpha1.ReasonRestartTargetNotFound), owed},
		"the usual interval":         {true, func(b *v1alpha1.ConfluenceTokenBinding) { b.Spec.Restart.MinInterval = "" }, facts{now: noon, interval: defaultInterval, held: noon, token: noon}},
		"a condition says what it may": {true, func(b *v1alpha1.ConfluenceTokenBinding) {
			b.Status.Conditions = append(b.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionRestarted, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonRestartFailed})
		}, facts{now: noon, interval: time.Hour, held: noon, token: noon}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := binding(tc.issued)
			tc.change(b)
			if got := factsOf(b, noon); got != tc.want {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
		})
	}
}

// Restarts are said apart from Ready, the same findings give the same status, and nothing of them stays when they are not
// asked for any more.
func TestReport(t *testing.T) {
	b := binding(true)
	theirs := b.Status.Conditions[0]
	show := func(f finding) string {
		f.report(b, 1)
		again := b.DeepCopy()
		f.report(again, 1)
		if !equality.Semantic.DeepEqual(again, b) {
			t.Errorf("the same finding gives %v, then %v", b.Status, again.Status)
		}
		if have := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionTokenIssued); have == nil || *have != theirs {
			t.Errorf("the conditions are %v", b.Status.Conditions)
		}
		c := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionRestarted)
		if c == nil {
			return "absent"
		}
		return string(c.Status) + " " + c.Reason
	}
	missing := []v1alpha1.PendingRestart{{Kind: "Deployment", Name: "a", Reason: v1alpha1.ReasonRestartTargetNotFound}}
	spec := b.Spec.Restart
	once := facts{token: noon, at: noon}
	steps := []struct {
		name string
		spec *v1alpha1.Restart
		finding
		want    string
		pending int
	}{
		{"not asked for", nil, finding{}, "absent", 0},
		{"no token yet", spec, finding{}, "Unknown Pending", 0},
		{"the first token", spec, finding{facts: facts{token: noon}}, "True RestartNotNeeded", 0},
		{"restarted", spec, finding{facts: once, tried: true}, "True Restarted", 0},
		{"nothing new", spec, finding{facts: once}, "True Restarted", 0},
		{"too soon", spec, finding{facts: once, act: restartLater}, "False RestartPending", 0},
		{"fails", spec, finding{facts: once, tried: true, reached: reach{pending: missing}}, "False RestartTargetNotFound", 1},
		{"waits after the failure", spec, finding{facts: once}, "False RestartTargetNotFound", 1},
		{"restarted again", spec, finding{facts: once, tried: true}, "True Restarted", 0},
		{"not asked for any more", nil, finding{}, "absent", 0},
	}
	for _, step := range steps {
		b.Spec.Restart = step.spec
		if got := show(step.finding); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
		last := b.Status.Restart
		if remembers := last != nil; remembers != (step.spec != nil && !step.facts.token.IsZero()) {
			t.Errorf("%s: remembers %v", step.name, last)
		} else if remembers && ((last.RestartedAt == nil) != step.facts.at.IsZero() || len(last.Pending) != step.pending) {
			t.Errorf("%s: remembers %v", step.name, *last)
		}
	}
}
