// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/throttle"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// look is one look at a binding, whose findings a test says.
type look struct {
	*scope
	c *Controller
}

func newLook(b *v1alpha1.ConfluenceTokenBinding, now time.Time) *look {
	scheme := runtime.NewScheme()
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	cluster := fake.NewClientBuilder().WithScheme(scheme).Build()
	clock := clocktesting.NewFakeClock(now)
	c := New(Deps{Client: cluster, Live: cluster, Clock: clock, Gates: throttle.New(1, clock), LookUps: throttle.New(1, clock)})
	return &look{scope: c.scope(b), c: c}
}

// report fills status with what a look found.
func (l *look) report(at refresh.Stage, p *problem.Problem) {
	l.c.report(l.scope, refresh.Action{Finding: refresh.Finding{Problem: p, At: at}})
}
