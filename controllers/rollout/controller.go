// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package rollout restarts the workloads that a ConfluenceTokenBinding names, when its token changed. It owns the condition
// Restarted and status.restart, and reads the rest of status, which another controller writes.
//
// A restart is due when the Secret holds another token than the one that the workloads were last restarted for. Status
// remembers that one. A kill before it is written repeats the patches with the same value, which changes nothing. A status
// that is lost takes the token that is there for the one they have.
package rollout

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/ownwrites"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/status"
)

// The permission to patch workloads is no part of these: the admin of a namespace gives it, see config/rbac/restart.yaml.
// +kubebuilder:rbac:groups=keycard.cloud,resources=confluencetokenbindings,verbs=list;watch
// +kubebuilder:rbac:groups=keycard.cloud,resources=confluencetokenbindings/status,verbs=patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Controller restarts workloads.
type Controller struct {
	client   client.Client
	recorder events.EventRecorder
	clock    clock.PassiveClock
	// namespaced is true for an operator whose permissions are Roles in some namespaces.
	namespaced bool

	// memories has the *memory of each binding, by its key.
	memories sync.Map
	restarts prometheus.Counter
}

// memory is what this process knows of one binding. Only the reconcile of the binding uses it.
type memory struct {
	written ownwrites.Latest[*v1alpha1.ConfluenceTokenBinding]
	pause   pause
}

// New makes a controller that reads from the cache of c. namespaced is for an operator whose permissions are Roles in some
// namespaces.
func New(c client.Client, recorder events.EventRecorder, clk clock.PassiveClock, namespaced bool) *Controller {
	return &Controller{
		client: c, recorder: recorder, clock: clk, namespaced: namespaced,
		restarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "keycard_restarts_total",
			Help: "How often the workloads of a ConfluenceTokenBinding were restarted, because its token changed.",
		}),
	}
}

// Metrics counts the restarts that this process made.
func (c *Controller) Metrics() prometheus.Collector { return c.restarts }

// SetupWithManager registers the controller and its watch.
func (c *Controller) SetupWithManager(mgr ctrl.Manager, concurrency int) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("rollout").
		For(&v1alpha1.ConfluenceTokenBinding{}, builder.WithPredicates(predicate.NewPredicateFuncs(concerned))).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency}).
		Complete(c)
}

// concerned reports whether a binding names workloads, or did.
func concerned(o client.Object) bool {
	b, ok := o.(*v1alpha1.ConfluenceTokenBinding)
	return ok && (b.Spec.Restart != nil || b.Status.Restart != nil ||
		meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionRestarted) != nil)
}

// Reconcile restarts the workloads of one binding if that is due. Whatever comes of it, the token and Ready are as they are.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var cached v1alpha1.ConfluenceTokenBinding
	if err := c.client.Get(ctx, req.NamespacedName, &cached); err != nil {
		if apierrors.IsNotFound(err) {
			c.memories.Delete(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	known, _ := c.memories.LoadOrStore(req.NamespacedName, &memory{})
	m, _ := known.(*memory)
	b := m.written.Newest(&cached)
	if !b.DeletionTimestamp.IsZero() || !reported(b) {
		return ctrl.Result{}, nil
	}
	if b.Spec.Restart == nil {
		m.pause = pause{}
		_, err := c.write(ctx, m, b, finding{})
		return ctrl.Result{}, err
	}
	f := factsOf(b, c.clock.Now())
	found, pause := finding{facts: f, act: decide(f)}, time.Time{}
	if found.act == restartNow || found.act == restartAgain {
		if pause = c.attempt(ctx, m, b, &found); ctx.Err() != nil {
			return ctrl.Result{}, ctx.Err() // told to stop: the next process goes on
		}
	}
	written, err := c.write(ctx, m, b, found)
	if err != nil {
		return ctrl.Result{}, err
	}
	c.announce(b, written, found)
	return c.result(found.facts.nextWake(pause)), nil
}

// reported reports whether status speaks of this spec, so that no write of it is under way that this one would turn down.
func reported(b *v1alpha1.ConfluenceTokenBinding) bool {
	issued := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionTokenIssued)
	return issued != nil && issued.ObservedGeneration == b.Generation
}

func (c *Controller) result(wake time.Time) ctrl.Result {
	if wake.IsZero() {
		return ctrl.Result{}
	}
	return ctrl.Result{RequeueAfter: max(wake.Sub(c.clock.Now()), time.Millisecond)}
}

// attempt patches the workloads, unless the last attempt failed a moment ago. It gives when it may be tried again, zero when
// it need not.
func (c *Controller) attempt(ctx context.Context, m *memory, b *v1alpha1.ConfluenceTokenBinding, found *finding) (pauseUntil time.Time) {
	last, f := m.pause, found.facts
	if last.generation != b.Generation || last.act != found.act {
		last = pause{} // of another attempt
	}
	if f.now.Before(last.until) {
		return last.until
	}
	token := f.token
	if found.act == restartNow {
		token = f.held
	}
	reached := c.patch(ctx, b, token)
	if ctx.Err() != nil {
		return time.Time{}
	}
	var before []v1alpha1.PendingRestart
	if b.Status.Restart != nil {
		before = b.Status.Restart.Pending
	}
	found.tried, found.reached = true, reached
	found.facts, found.progress = f.after(found.act, reached, before, c.clock.Now())
	if !found.facts.owed {
		m.pause = pause{}
		return time.Time{}
	}
	p, act := reached.problem(), found.act
	if !found.facts.changed() {
		act = restartAgain // it reached some
	}
	wait := refresh.Pause(p, last.failures+1, 0, string(b.UID))
	pauseUntil = c.clock.Now().Add(wait)
	m.pause = pause{generation: b.Generation, act: act, failures: last.failures + 1, until: pauseUntil}
	log.FromContext(ctx).Info("the restart did not reach all workloads", "message", p.Message(), "retryAfter", wait)
	return pauseUntil
}

// errOvertaken says that another replica took over in between.
var errOvertaken = errors.New("another process restarted the workloads meanwhile")

// write puts what was found into status. The controller of tokens writes the same status: a write that crossed one of its
// writes is turned down, and made again on top of that.
func (c *Controller) write(ctx context.Context, m *memory, before *v1alpha1.ConfluenceTokenBinding, found finding) (*v1alpha1.ConfluenceTokenBinding, error) {
	key, on, generation := client.ObjectKeyFromObject(before), before, before.Generation
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		now := on.DeepCopy()
		found.report(now, generation)
		written, changed, err := status.Patch(ctx, c.client, on, now)
		if apierrors.IsConflict(err) {
			on = &v1alpha1.ConfluenceTokenBinding{}
			if err := c.client.Get(ctx, key, on); err != nil {
				return client.IgnoreNotFound(err)
			}
			if !equality.Semantic.DeepEqual(on.Status.Restart, before.Status.Restart) {
				return errOvertaken
			}
			return err
		}
		if changed {
			m.written.Wrote(written)
		}
		on = written
		return err
	})
	return on, err
}

// announce counts a restart and records an event for it, and one when it begins to fail.
func (c *Controller) announce(before, now *v1alpha1.ConfluenceTokenBinding, found finding) {
	if found.progress {
		c.restarts.Inc()
	}
	if !found.tried {
		return
	}
	p := found.reached.problem()
	if p == nil {
		c.recorder.Eventf(now, nil, corev1.EventTypeNormal, v1alpha1.ReasonRestarted, "Restart", "restarted the workloads of spec.restart, because the token changed")
		return
	}
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionRestarted)
	if was == nil || was.Reason != p.Reason {
		c.recorder.Eventf(now, nil, corev1.EventTypeWarning, p.Reason, "Restart", "%s", p.Message())
	}
}
