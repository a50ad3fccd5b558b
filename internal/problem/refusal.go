// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package problem

import (
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// refusers find in the text of a refusal who it was: the API server says it nowhere else. Only names are taken from it: a policy
// or a webhook may quote what it refuses.
var refusers = []struct {
	name   *regexp.Regexp
	remedy string
}{
	{regexp.MustCompile(`exceeded quota: ([a-z0-9.-]{1,253}),`), "ResourceQuota %s of the namespace is used up: raise it, or remove what is not needed"},
	{regexp.MustCompile(`ValidatingAdmissionPolicy '([a-z0-9.-]{1,253})'`), "ValidatingAdmissionPolicy %s denies it: let it admit what the operator writes"},
	{regexp.MustCompile(`admission webhook "([a-z0-9.-]{1,253})" denied`), "the admission webhook %s denies it: let it admit what the operator writes"},
}

// Refusal says who in the cluster refused a request, and what to do about it. It is to be shown only: what happens next is
// decided by the status of the error.
func Refusal(err error) string {
	for _, r := range refusers {
		if m := r.name.FindStringSubmatch(err.Error()); m != nil {
			return strings.ReplaceAll(r.remedy, "%s", m[1])
		}
	}
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		return "check the operator's permissions in this namespace (config/rbac has what it needs), and admission webhooks"
	}
	return "check the admission policies and webhooks of the cluster"
}
