// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/status"
)

// A restart is due when the Secret holds another token than the one that the workloads were last restarted for. That one is
// in status, written together with all else that a rotation changes. A kill before that write repeats the patches with the
// same value, which changes nothing. A status that is lost takes the token that is there for the one they have.

// defaultRestartInterval is the least time between two restarts, unless the spec has another.
const defaultRestartInterval = 30 * time.Minute

// restartAction is what is to be done about the workloads.
type restartAction int

const (
	// restartNone: they need no restart, or there is no token to restart them for.
	restartNone restartAction = iota
	// restartLater: the last restart is too recent.
	restartLater
	// restartNow: the token changed.
	restartNow
	// restartAgain: the last restart did not reach all of them, and can be tried again.
	restartAgain
)

// restartFacts is all that the decision depends on.
type restartFacts struct {
	now time.Time
	// interval is the least time between two restarts.
	interval time.Duration
	// held is when the token in the Secret was issued; zero when there is none that works.
	held time.Time
	// token is when the token was issued that they were last restarted for, or the one that was there at first; zero when
	// there was none yet. at is when they were restarted; zero: never.
	token, at time.Time
	// owed tells that the last restart did not reach all of them.
	owed bool
}

func decideRestart(f restartFacts) restartAction {
	if f.held.IsZero() || f.token.IsZero() {
		return restartNone
	}
	changed := !f.held.Equal(f.token)
	// A restart that lies far in the future was noted by a clock that was wrong.
	since := f.now.Sub(f.at)
	over := f.at.IsZero() || since >= f.interval || since < -f.interval
	switch {
	case changed && over:
		return restartNow
	case f.owed:
		return restartAgain
	case changed:
		return restartLater
	}
	return restartNone
}

// rollout is what is known of restarts.
type rollout struct {
	// token and at are those of restartFacts.
	token, at time.Time
	// waits tells that a restart is put off; tried that one was made in this reconcile, and problem why it did not reach all.
	waits, tried bool
	problem      *problem.Problem
	// notBefore is when it is tried again.
	notBefore time.Time
}

func rolloutOf(b *v1alpha1.ConfluenceTokenBinding) (r rollout) {
	if last := b.Status.Restart; last != nil && last.TokenIssuedAt != nil && b.Spec.Restart != nil {
		r.token = last.TokenIssuedAt.Time
		if last.RestartedAt != nil {
			r.at = last.RestartedAt.Time
		}
	}
	return r
}

func (s *scope) restartInterval() time.Duration {
	interval, err := time.ParseDuration(string(s.binding.Spec.Restart.MinInterval))
	if err != nil {
		return defaultRestartInterval // it is absent: the schema admits nothing that can't be parsed
	}
	return interval
}

func (s *scope) restartAction() restartAction {
	f := restartFacts{now: s.now, interval: s.restartInterval(), token: s.rollout.token, at: s.rollout.at}
	if s.usable() {
		f.held = s.secret.Held.Life.IssuedAt
	}
	if c := meta.FindStatusCondition(s.found.Conditions, v1alpha1.ConditionRestarted); c != nil {
		// What does not exist starts with the token that is there. It is owed nothing, unless the spec was corrected.
		f.owed = c.Reason == v1alpha1.ReasonRestartForbidden || c.Reason == v1alpha1.ReasonRestartFailed ||
			c.Reason == v1alpha1.ReasonRestartTargetNotFound && c.ObservedGeneration != s.binding.Generation
	}
	return decideRestart(f)
}

// restart restarts the workloads that the spec names, if it is due. Whatever comes of it, the token and Ready are as they are.
func (r *Reconciler) restart(ctx context.Context, s *scope) {
	if s.binding.Spec.Restart == nil || s.suspended() || ctx.Err() != nil {
		return
	}
	act, token := s.restartAction(), s.rollout.token
	switch act {
	case restartNone:
		return
	case restartLater:
		s.rollout.waits = true
		return
	case restartNow:
		token = s.secret.Held.Life.IssuedAt
	}
	last, ok := r.restarts.last(s.key(), s.restartInputs(act))
	if ok && s.now.Before(last.notBefore) {
		s.rollout.notBefore = last.notBefore
		return
	}
	reached := r.patchTargets(ctx, s, token)
	if ctx.Err() != nil {
		return // told to stop: the next process goes on
	}
	r.noteRestart(s, act, reached)
	r.retryRestart(ctx, s, act, reached, last.failures+1)
}

// restartInputs is what a pause after a failed restart depends on: a correction of the spec ends it, and so does the next
// token, unless it was the same restart that failed for the last one.
func (s *scope) restartInputs(act restartAction) string {
	return fmt.Sprintf("%d/%d", s.binding.Generation, act)
}

// noteRestart keeps what a restart reached. One that reached nobody and can be tried again is still due.
func (r *Reconciler) noteRestart(s *scope, act restartAction, reached reach) {
	s.rollout.tried, s.rollout.problem = true, reached.problem()
	progress := reached.done > 0 && (act == restartNow || s.reachedMore())
	if act == restartNow && (reached.done > 0 || !reached.retriable()) {
		s.rollout.token = s.secret.Held.Life.IssuedAt
	}
	if progress {
		s.rollout.at = r.Clock.Now().UTC().Truncate(time.Second) // as it is stored
		r.restarted.Add(1)
	}
}

// reachedMore tells whether a repeated restart reached workloads that the last one did not: the complaint is another.
func (s *scope) reachedMore() bool {
	c, p := meta.FindStatusCondition(s.found.Conditions, v1alpha1.ConditionRestarted), s.rollout.problem
	return c == nil || p == nil || c.Reason != p.Reason || !strings.HasPrefix(p.Message, strings.TrimSuffix(c.Message, "…"))
}

// retryRestart makes the next attempt wait, if there is to be one.
func (r *Reconciler) retryRestart(ctx context.Context, s *scope, act restartAction, reached reach, failures int) {
	if !reached.retriable() {
		r.restarts.forget(s.key())
		return
	}
	if act == restartNow && s.rollout.token.Equal(s.secret.Held.Life.IssuedAt) {
		act = restartAgain // it reached some
	}
	wait := refresh.Pause(s.rollout.problem, failures, 0, s.uid())
	s.rollout.notBefore = r.Clock.Now().Add(wait)
	r.restarts.remember(s.key(), attempt{inputs: s.restartInputs(act), failures: failures, notBefore: s.rollout.notBefore})
	log.FromContext(ctx).Info("the restart did not reach all workloads", "message", s.rollout.problem.Message, "retryAfter", wait)
}

// reach is which workloads a restart reached, and why not the others.
type reach struct {
	done                       int
	forbidden, failed, missing []string
	// permit is the command that permits the operator what is forbidden; why is the first failure, and passes tells whether
	// all failures may pass by themselves.
	permit, why string
	passes      bool
}

func (c reach) retriable() bool { return len(c.forbidden)+len(c.failed) > 0 }

func (c reach) problem() *problem.Problem {
	var texts []string
	say := func(who []string, format string, args ...any) {
		if len(who) > 0 {
			texts = append(texts, fmt.Sprintf(format, append(args, strings.Join(who, ", "))...))
		}
	}
	say(c.missing, "%s does not exist: create it, or correct spec.restart.targets")
	say(c.failed, "the cluster refused the restart (%s) of %s", c.why)
	say(c.forbidden, "the operator is not permitted to restart %[2]s: run %[1]s", c.permit)
	text := strings.Join(texts, "; ")
	switch {
	case len(c.forbidden) > 0:
		return problem.NeedsPerson(v1alpha1.ReasonRestartForbidden, "%s", text)
	case len(c.failed) > 0 && c.passes:
		return problem.Passing(v1alpha1.ReasonRestartFailed, "%s", text)
	case len(c.failed) > 0:
		return problem.NeedsPerson(v1alpha1.ReasonRestartFailed, "%s", text)
	case len(c.missing) > 0:
		return problem.Blocked(v1alpha1.ReasonRestartTargetNotFound, "%s", text)
	}
	return nil
}

// patchTargets puts the annotation on every workload. Nothing is read: the patch is all that the operator may do.
func (r *Reconciler) patchTargets(ctx context.Context, s *scope, token time.Time) reach {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	body := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{%q:%q}}}}}`, v1alpha1.TokenIssuedAtAnnotation, token.UTC().Format(time.RFC3339))
	reached := reach{passes: true}
	for _, target := range s.binding.Spec.Restart.Targets {
		m := &metav1.PartialObjectMetadata{}
		m.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind(string(target.Kind)))
		m.Namespace, m.Name = s.binding.Namespace, target.Name
		name := string(target.Kind) + " " + target.Name
		err := r.Client.Patch(ctx, m, client.RawPatch(types.MergePatchType, body), client.FieldOwner(v1alpha1.FieldManager))
		switch {
		case err == nil:
			reached.done++
			log.FromContext(ctx).Info("restarted a workload", "workload", name, "tokenIssuedAt", token)
		case apierrors.IsNotFound(err):
			reached.missing = append(reached.missing, name)
		case apierrors.IsForbidden(err):
			reached.forbidden = append(reached.forbidden, name)
		default:
			reached.failed = append(reached.failed, name)
			reached.why = cmp.Or(reached.why, string(apierrors.ReasonForError(err)), "no answer")
			reached.passes = reached.passes && passes(err)
		}
	}
	if len(reached.forbidden) > 0 {
		reached.permit = r.permitCommand(ctx, s.binding.Namespace)
	}
	return reached
}

// passes tells whether a failure of the cluster passes by itself. What a person has to mend there has a code of its own.
func passes(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true
	}
	code := status.Status().Code
	return code >= http.StatusInternalServerError || code == http.StatusTooManyRequests || code == http.StatusConflict
}

// shippedAccount is the operator's ServiceAccount in config/rbac.
const shippedAccount = "keycard-system:keycard-operator"

// permitCommand is the command that permits the operator to restart workloads in a namespace, under the name by which
// the cluster knows it. Where it works in single namespaces, nothing of the cluster's was installed: the role is each
// namespace's own.
func (r *Reconciler) permitCommand(ctx context.Context, namespace string) string {
	who := "--serviceaccount=" + shippedAccount
	me := &authenticationv1.SelfSubjectReview{}
	if err := r.Client.Create(ctx, me); err != nil {
		log.FromContext(ctx).V(1).Info("the cluster does not say who the operator is", "error", err.Error())
	} else if account, ok := strings.CutPrefix(me.Status.UserInfo.Username, "system:serviceaccount:"); ok {
		who = "--serviceaccount=" + account
	} else {
		who = "--user=" + me.Status.UserInfo.Username
	}
	role := "--clusterrole"
	if r.LiveNamespaces {
		role = "--role"
	}
	return fmt.Sprintf("kubectl create rolebinding keycard-operator-restart -n %s %s=keycard-operator-restart %s", namespace, role, who)
}

// reportRestart says whether the workloads need a restart. Without a new finding it says what it said.
func (s *scope) reportRestart(c status.Conditions) {
	st := &s.binding.Status
	if s.binding.Spec.Restart == nil {
		st.Restart = nil
		c.Remove(v1alpha1.ConditionRestarted)
		return
	}
	if !s.rollout.token.IsZero() {
		st.Restart = &v1alpha1.RestartStatus{TokenIssuedAt: &metav1.Time{Time: s.rollout.token}}
		if !s.rollout.at.IsZero() {
			st.Restart.RestartedAt = &metav1.Time{Time: s.rollout.at}
		}
	}
	set := func(status metav1.ConditionStatus, reason, message string) {
		c.Set(v1alpha1.ConditionRestarted, status, reason, message)
	}
	have := meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionRestarted)
	switch {
	case s.rollout.problem != nil:
		set(metav1.ConditionFalse, s.rollout.problem.Reason, s.rollout.problem.Message)
	case s.rollout.tried:
		set(metav1.ConditionTrue, v1alpha1.ReasonRestarted, "the workloads were restarted for the token in the Secret")
	case s.rollout.waits:
		set(metav1.ConditionFalse, v1alpha1.ReasonRestartPending, "the token changed; the workloads are restarted when spec.restart.minInterval is over")
	case have != nil && have.Status != metav1.ConditionUnknown:
		set(have.Status, have.Reason, have.Message)
	case s.rollout.token.IsZero():
		s.pend(c, v1alpha1.ConditionRestarted)
	default:
		set(metav1.ConditionTrue, v1alpha1.ReasonRestartNotNeeded, "the token has not changed since spec.restart was set")
	}
}

// restartWakes are the moments at which a restart is due by time alone.
func (s *scope) restartWakes() []time.Time {
	if s.binding.Spec.Restart == nil || s.suspended() {
		return nil
	}
	wakes := []time.Time{s.rollout.notBefore}
	if s.usable() && !s.rollout.at.IsZero() && !s.secret.Held.Life.IssuedAt.Equal(s.rollout.token) {
		wakes = append(wakes, s.rollout.at.Add(s.restartInterval()))
	}
	return wakes
}

// announceRestart records an event for a restart, and one when it begins to fail.
func (r *Reconciler) announceRestart(s *scope) {
	if c := changed(s, v1alpha1.ConditionRestarted); c != nil && s.rollout.problem != nil {
		r.Recorder.Eventf(s.binding, nil, corev1.EventTypeWarning, c.Reason, "Restart", "%s", c.Message)
	}
	if s.rollout.tried && s.rollout.problem == nil {
		r.Recorder.Eventf(s.binding, nil, corev1.EventTypeNormal, v1alpha1.ReasonRestarted, "Restart", "restarted the workloads of spec.restart, because the token changed")
	}
}

// Restarts is how often workloads of bindings were restarted, by this process.
func (r *Reconciler) Restarts() int64 { return r.restarted.Load() }
