// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokensecret

import (
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
)

// WriteProblem says what a refused write of a Secret means.
func WriteProblem(name string, err error) *problem.Problem {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		// It does not come back, so there is no hurry. The token is kept all the same.
		return problem.SecretInEndingNamespace(name, refresh.SlowRetryAfter(1, name))
	}
	return problem.SecretWriteFailed(name, err)
}
