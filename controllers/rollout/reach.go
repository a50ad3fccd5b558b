// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package rollout

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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// reach is which workloads a restart reached, and why not the others.
type reach struct {
	done    int
	pending []v1alpha1.PendingRestart
	// permit is the command that permits the operator what is forbidden; why is the first failure, and passes is true when
	// all failures may pass by themselves.
	permit, why string
	passes      bool
}

// problem says why some were not reached; nil when all were.
func (c reach) problem() *problem.Problem {
	return problem.RestartIncomplete(problem.Restart{
		Missing: c.names(v1alpha1.ReasonRestartTargetNotFound), Failed: c.names(v1alpha1.ReasonRestartFailed),
		Forbidden: c.names(v1alpha1.ReasonRestartForbidden), Why: c.why, Permit: c.permit, Passes: c.passes,
	})
}

func (c reach) names(reason v1alpha1.PendingReason) (names []string) {
	for _, p := range c.pending {
		if p.Reason == reason {
			names = append(names, string(p.Kind)+" "+p.Name)
		}
	}
	return names
}

// patchTimeout bounds the patches of one restart.
const patchTimeout = 10 * time.Second

// patch puts the annotation on every workload. Nothing is read: the patch is all that the operator may do.
func (c *Controller) patch(ctx context.Context, b *v1alpha1.ConfluenceTokenBinding, token time.Time) reach {
	ctx, cancel := context.WithTimeout(ctx, patchTimeout)
	defer cancel()
	body := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{%q:%q}}}}}`, v1alpha1.TokenIssuedAtAnnotation, token.UTC().Format(time.RFC3339))
	reached := reach{passes: true}
	miss := func(target v1alpha1.RestartTarget, reason v1alpha1.PendingReason) {
		reached.pending = append(reached.pending, v1alpha1.PendingRestart{Kind: target.Kind, Name: target.Name, Reason: reason})
	}
	for _, target := range b.Spec.Restart.Targets {
		m := &metav1.PartialObjectMetadata{}
		m.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind(string(target.Kind)))
		m.Namespace, m.Name = b.Namespace, target.Name
		err := c.client.Patch(ctx, m, client.RawPatch(types.MergePatchType, body), client.FieldOwner(v1alpha1.FieldManager))
		switch {
		case err == nil:
			reached.done++
			log.FromContext(ctx).Info("restarted a workload", "kind", target.Kind, "name", target.Name, "tokenIssuedAt", token)
		case apierrors.IsNotFound(err):
			miss(target, v1alpha1.ReasonRestartTargetNotFound)
		case apierrors.IsForbidden(err):
			miss(target, v1alpha1.ReasonRestartForbidden)
		default:
			miss(target, v1alpha1.ReasonRestartFailed)
			reached.why = cmp.Or(reached.why, string(apierrors.ReasonForError(err)), "no answer")
			reached.passes = reached.passes && passes(err)
		}
	}
	if len(reached.names(v1alpha1.ReasonRestartForbidden)) > 0 {
		reached.permit = c.permitCommand(ctx, b.Namespace)
	}
	return reached
}

// passes reports whether a failure of the cluster passes by itself. What a person has to mend there has a code of its own.
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
func (c *Controller) permitCommand(ctx context.Context, namespace string) string {
	who := "--serviceaccount=" + shippedAccount
	me := &authenticationv1.SelfSubjectReview{}
	if err := c.client.Create(ctx, me); err != nil {
		log.FromContext(ctx).V(1).Info("the cluster does not say who the operator is", "error", err.Error())
	} else if account, ok := strings.CutPrefix(me.Status.UserInfo.Username, "system:serviceaccount:"); ok {
		who = "--serviceaccount=" + account
	} else {
		who = "--user=" + me.Status.UserInfo.Username
	}
	role := "--clusterrole"
	if c.namespaced {
		role = "--role"
	}
	return fmt.Sprintf("kubectl create rolebinding keycard-operator-restart -n %s %s=keycard-operator-restart %s", namespace, role, who)
}
