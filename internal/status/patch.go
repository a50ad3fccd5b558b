// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// timeout bounds a write, which is finished even when the operator is told to stop.
const timeout = 10 * time.Second

// Patch writes the status of now onto the server and gives the object as the server has it, and true. It
// gives before and false when nothing changed or the object is gone. The write is conditional on the
// version of before, so that a former leader can't undo what its successor wrote.
func Patch[T client.Object](ctx context.Context, c client.Client, before, now T) (T, bool, error) {
	if equality.Semantic.DeepEqual(before, now) {
		return before, false, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	written, ok := now.DeepCopyObject().(T)
	if !ok {
		return before, false, fmt.Errorf("copying %T", now)
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := c.Status().Patch(ctx, written, patch); err != nil {
		if apierrors.IsNotFound(err) {
			return before, false, nil
		}
		return before, false, fmt.Errorf("writing status: %w", err)
	}
	return written, true, nil
}
