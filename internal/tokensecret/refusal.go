// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokensecret

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
)

// WriteProblem returns what a refused write of a Secret means, in words of its own: an admission webhook may
// quote values in its.
func WriteProblem(name string, err error) *problem.Problem {
	switch {
	case apierrors.IsConflict(err):
		return problem.Passing(v1alpha1.ReasonSecretConflict, "Secret %s is being changed by somebody else: %s", name, apierrors.ReasonForError(err))
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		// It does not come back, so there is no hurry. The token is kept all the same.
		return problem.Throttled(refresh.SlowRetryAfter(1, name), v1alpha1.ReasonSecretWriteFailed, "Secret %s can't be made: the namespace is being deleted", name)
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsUnauthorized(err), apierrors.IsBadRequest(err):
		return problem.Passing(v1alpha1.ReasonSecretWriteFailed, "the cluster refused the write of Secret %s (%s); %s; it is retried, and the token is kept",
			name, apierrors.ReasonForError(err), problem.Refusal(err))
	}
	p := problem.FromCluster(fmt.Errorf("writing Secret %s: %w", name, err))
	p.Reason = v1alpha1.ReasonSecretWriteFailed
	return p
}
