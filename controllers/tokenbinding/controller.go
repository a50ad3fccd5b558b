// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package tokenbinding reconciles ConfluenceTokenBindings: it exchanges for a token when there is a
// reason to, writes it into the Secret, and says in status what it did.
//
// What the schedule remembers is in the Secret's annotations, written together with the token. A
// reconcile that finds nothing to do makes no remote call and no write.
package tokenbinding

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/atlassian"
	"github.com/keycardai/keycard-operator/internal/catalog"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/ownwrites"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/secretcache"
	"github.com/keycardai/keycard-operator/internal/status"
	"github.com/keycardai/keycard-operator/internal/subject"
	"github.com/keycardai/keycard-operator/internal/throttle"
	"github.com/keycardai/keycard-operator/internal/tokensecret"
)

// +kubebuilder:rbac:groups=keycard.cloud,resources=confluencetokenbindings,verbs=list;watch
// +kubebuilder:rbac:groups=keycard.cloud,resources=confluencetokenbindings/status,verbs=patch
// Where OwnerReferencesPermissionEnforcement is on, blockOwnerDeletion needs this.
// +kubebuilder:rbac:groups=keycard.cloud,resources=confluencetokenbindings/finalizers,verbs=update
// +kubebuilder:rbac:groups=keycard.cloud,resources=keycardresources,verbs=list;watch
// Inputs are read by name when they are needed; outputs are applied. RBAC can't tell the two apart.
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;patch
// The labels of namespaces decide over allowedNamespaces with a selector.
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// RBAC can't say for which ServiceAccounts tokens may be requested without naming each: the code does, and requests
// them only for what a binding names in its own namespace.
// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=serviceaccounts/token,verbs=create
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// writeTimeout bounds the writes that follow an exchange. They are finished even when the operator is
// told to stop: a token that was issued and not stored is lost.
const writeTimeout = 10 * time.Second

// Reconciler keeps ConfluenceTokenBindings. All fields have to be set.
type Reconciler struct {
	// Client reads from the caches and writes.
	Client client.Client
	// Secrets tells of changes; their metadata is read by Client, values by Live.
	Secrets *secretcache.Cache
	// Live reads from the server: values of Secrets are never cached.
	Live client.Reader
	// Zones hands out clients of zones' authorization servers.
	Zones *keycard.Pool
	// Atlassian asks which sites a token is good for.
	Atlassian *atlassian.Client
	Catalog   catalog.Catalog
	Recorder  events.EventRecorder
	Clock     clock.PassiveClock
	// Gates stand before the zones, and LookUps before the management APIs where users are looked up.
	Gates, LookUps *throttle.Gates
	// Metrics count what happens at the zones.
	Metrics *Metrics
	// ConsentURL is where browsers reach the consent page; nil when there is none.
	ConsentURL *url.URL
	// LiveNamespaces is for an operator that may not watch namespaces, because its permissions are Roles in some.
	LiveNamespaces bool
	// WatchEvery is how often it is looked for bindings that were not woken in time; 0 means every 30 seconds.
	WatchEvery time.Duration

	// elected is closed when this replica is the leader.
	elected <-chan struct{}
	// queue takes bindings that are to be looked at; it is there once the controller runs.
	queue    atomic.Pointer[workqueue.TypedRateLimitingInterface[ctrl.Request]]
	bindings ownwrites.Objects[*v1alpha1.ConfluenceTokenBinding]
	// memories has the *memory of each binding.
	memories sync.Map
	attempts attempts
	once     sync.Once
	subjects *subject.Subjects
	// probeAgain is when tokens may be tried at Confluence again, in nanoseconds since 1970.
	probeAgain atomic.Int64
	// layouts remembers layouts that could not be followed while a refresh failed.
	layouts attempts
	// wakes remembers when bindings are to be woken, and rescued counts those that were not.
	wakes   wakes
	rescued atomic.Int64
}

// Reconcile brings one binding's Secret and status up to date.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	ctx = keycard.WithCaller(ctx, keycard.Caller{
		Object: "ConfluenceTokenBinding " + req.String(), CorrelationID: string(controller.ReconcileIDFromContext(ctx)),
	})
	var cached v1alpha1.ConfluenceTokenBinding
	if err := r.Client.Get(ctx, req.NamespacedName, &cached); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !cached.DeletionTimestamp.IsZero() {
		// The Secret goes with its owner; there is nothing to undo.
		return ctrl.Result{}, nil
	}
	s := newScope(r.bindings.Newest(req.NamespacedName, &cached), r.Clock.Now())
	if s.before.Status.ObservedGeneration == 0 {
		// Tools that wait for the object take one without a status for ready, so it gets one at once.
		s.progressing()
		if err := r.patchStatus(ctx, s); err != nil {
			return ctrl.Result{}, err
		}
	}
	at, err := r.run(ctx, s)
	if err != nil && ctx.Err() != nil {
		return ctrl.Result{}, ctx.Err() // told to stop: nothing failed but the attempt
	}
	if errors.Is(err, errQueued) {
		if s.reported() {
			return r.result(s, nil), nil
		}
		err = nil // nothing failed, and tools wait for status to follow the spec
	}
	at, p := r.remember(ctx, s, at, cmp.Or(err, r.expire(ctx, s)))
	p = r.invite(s, p)
	s.report(at, p)
	if err := r.patchStatus(ctx, s); err != nil {
		return ctrl.Result{}, err
	}
	r.announce(s)
	return r.result(s, p), nil
}

func (r *Reconciler) result(s *scope, p *problem.Problem) ctrl.Result {
	return ctrl.Result{RequeueAfter: r.nextWake(s, p), Priority: new(priority(s.deadline(), s.now))}
}

// forget drops what is remembered of a binding that is gone.
func (r *Reconciler) forget(key client.ObjectKey) {
	r.attempts.drop(key)
	r.layouts.drop(key)
	r.bindings.Forget(key)
	r.wakes.drop(key)
	r.Gates.Withdraw(key.String())
	r.LookUps.Withdraw(key.String())
	if m, ok := r.memories.LoadAndDelete(key); ok {
		m.(*memory).subject.Release() //nolint:forcetypeassert // nothing else is kept there
	}
}

// memory is what is remembered of the Secrets of one binding.
type memory struct {
	written tokensecret.Memory
	subject subject.Memory
}

func (r *Reconciler) memory(key client.ObjectKey) *memory {
	m, _ := r.memories.LoadOrStore(key, &memory{})
	return m.(*memory) //nolint:forcetypeassert // nothing else is kept there
}

// run takes the steps in order, and stops at the first that can't go on.
func (r *Reconciler) run(ctx context.Context, s *scope) (step, error) {
	steps := []struct {
		at step
		do func(context.Context, *scope) error
	}{
		{stepSecret, r.loadSecret},
		{stepResource, r.ensureResource},
		{stepToken, r.ensureToken},
		{stepSecret, r.ensureSecret},
	}
	for _, st := range steps {
		if err := st.do(ctx, s); err != nil {
			r.followLayout(ctx, s, st.at)
			return st.at, err
		}
		if st.at == stepSecret && s.suspended() {
			return stepToken, nil
		}
	}
	return "", nil
}

// followLayout lays the present token out as the spec wants it, even while the next one is not to be had. What keeps it from
// that has a backoff of its own: the next token may be hours away.
func (r *Reconciler) followLayout(ctx context.Context, s *scope, failed step) {
	if failed != stepToken || s.minted != nil {
		return
	}
	last, _ := r.layouts.last(s.key(), s.want.Layout)
	if s.now.Before(last.notBefore) && !s.laidOut() {
		s.layout = last
		return
	}
	err := r.ensureSecret(ctx, s)
	if err == nil {
		r.layouts.forget(s.key())
		return
	}
	p := asProblem(ctx, err)
	wait := refresh.Pause(p, last.failures+1, s.remaining(), s.uid())
	s.layout = attempt{inputs: s.want.Layout, problem: p, failures: last.failures + 1, notBefore: r.Clock.Now().Add(wait)}
	r.layouts.remember(s.key(), s.layout)
}

// asProblem gives what of an error may be shown.
func asProblem(ctx context.Context, err error) *problem.Problem {
	var p *problem.Problem
	if err != nil && !errors.As(err, &p) {
		log.FromContext(ctx).Error(err, "the cluster failed")
		p = problem.FromCluster(err)
	}
	return p
}

// remember keeps a failed attempt for the next reconcile, so that no unrelated event cuts the backoff
// short, and gives what to show: the problem, and the step it belongs to.
func (r *Reconciler) remember(ctx context.Context, s *scope, at step, err error) (step, *problem.Problem) {
	p := asProblem(ctx, err)
	if s.queued {
		return at, p // it was no attempt
	}
	if s.pausing {
		if s.attempt.problem != nil && p == s.attempt.problem {
			at = s.attempt.at
		}
		return at, p
	}
	if !s.recalled {
		r.postpone(ctx, s, p)
		return at, p
	}
	var wait time.Duration
	failures := s.attempt.failures + 1
	if p != nil {
		wait = s.untilRetry(p, at, failures)
	}
	if wait == 0 {
		s.attempt = attempt{}
		r.attempts.forget(s.key())
		return at, p
	}
	// The pause counts from now: what failed by a timeout has waited already, but not in the zone's favour.
	next := attempt{failures: failures, problem: p, at: at, notBefore: r.Clock.Now().Add(wait)}
	if p.Kind == problem.KindTransient || p.Kind == problem.KindThrottled {
		// An attempt that failed before it came to the token of an earlier one leaves it for the next.
		next.minted, next.exchanged = cmp.Or(s.minted, s.attempt.minted), cmp.Or(s.exchanged, s.attempt.exchanged)
	}
	log.FromContext(ctx).Info("the attempt failed", "reason", p.Reason, "message", p.Message, "failures", failures, "retryAfter", wait)
	r.pause(s, next)
	return at, p
}

// untilRetry is how long a failed attempt makes the next one wait. When the token is about to lapse the gate decides, whatever
// pause the zone asked for.
func (s *scope) untilRetry(p *problem.Problem, at step, failures int) time.Duration {
	wait := refresh.Pause(p, failures, s.remaining(), s.uid())
	if p.Kind == problem.KindThrottled && at == stepToken && s.usable() {
		wait = min(wait, max(refresh.FloorAt(s.secret.Held.Life).Sub(s.now), throttle.ProbeEvery))
	}
	return wait
}

// postpone spaces out reconciles that fail before the last attempt is known, such as while the API server is down. What is
// remembered of that attempt stays: a token that waits to be written is not lost.
func (r *Reconciler) postpone(ctx context.Context, s *scope, p *problem.Problem) {
	if p == nil {
		return
	}
	failures := r.attempts.failedEarly(s.key())
	if wait := refresh.Pause(p, failures, s.remaining(), s.uid()); wait > 0 {
		log.FromContext(ctx).Info("the reconcile failed", "reason", p.Reason, "message", p.Message, "failures", failures, "retryAfter", wait)
		s.attempt, s.pausing = attempt{notBefore: r.Clock.Now().Add(wait)}, true
	}
}

// pause makes the next attempt wait.
func (r *Reconciler) pause(s *scope, next attempt) {
	next.inputs, next.progress = s.inputs, s.progress
	next.versions, next.values = s.reads.Versions(), s.reads.Values().Or(s.attempt.values)
	next.renewed = s.binding.Spec.Subject.RefreshTokenSecretRef != nil && s.subjectRenewed()
	next.asked = cmp.Or(s.owed, s.attempt.asked)
	if asked := s.binding.Status.LastRefreshRequest; asked != s.found.LastRefreshRequest {
		next.asked = asked
	}
	s.attempt, s.pausing = next, true
	r.attempts.remember(s.key(), next)
}

// patchStatus writes the status if it changed.
func (r *Reconciler) patchStatus(ctx context.Context, s *scope) error {
	written, changed, err := status.Patch(ctx, r.Client, s.before, s.binding)
	if err != nil || !changed {
		return err
	}
	r.bindings.Wrote(s.key(), written)
	s.before, s.binding = written, written.DeepCopy()
	return nil
}

// nextWake is how long until something changes by time alone: the refresh, the next attempt, the moment
// the token stops being ready, its expiry.
func (r *Reconciler) nextWake(s *scope, p *problem.Problem) time.Duration {
	times := s.wakeTimes(p)
	if s.queued {
		times = append(times, s.now.Add(s.backstop(r.Gates.Waiting(s.issuer))))
	}
	var next time.Time
	for _, t := range times {
		if t.After(s.now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if next.IsZero() {
		return 0
	}
	return max(next.Sub(r.Clock.Now()), time.Millisecond)
}

func (s *scope) suspended() bool { return ptr.Deref(s.binding.Spec.Suspend, false) }
