// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package manifests tests that what config/ ships can be applied, and grants what the operator needs and
// no more.
package manifests

import (
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/keycardai/keycard-operator/internal/testenv"
)

const (
	namespace = "keycard-system"
	operator  = "system:serviceaccount:" + namespace + ":keycard-operator"
	lease     = "operator.keycard.cloud"
)

func TestInstall(t *testing.T) {
	c, err := testenv.Start(testenv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	// kubectl prints the server's warnings: of fields it does not know, and of what the namespace's Pod
	// Security level would refuse.
	out, err := c.Kubectl(t.Context(), "apply", "-k", "../../config/default")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out, "Warning") {
		t.Errorf("applying config/default: %s", out)
	}
	if out, err = c.Kubectl(t.Context(), "diff", "-k", "../../config/default"); err != nil {
		t.Errorf("applied manifests differ from what the server keeps: %v: %s", err, out)
	}
	permissions(t, kubernetes.NewForConfigOrDie(c.Config))
}

func permissions(t *testing.T, clients kubernetes.Interface) {
	t.Helper()
	for name, test := range map[string]struct {
		attributes authorizationv1.ResourceAttributes
		want       bool
	}{
		"reads the kinds anywhere":        {in("app", "list", "keycard.cloud", "confluencetokenbindings"), true},
		"writes their status":             {in("app", "patch", "keycard.cloud", "confluencetokenbindings", sub("status")), true},
		"does not create them":            {in("app", "create", "keycard.cloud", "confluencetokenbindings"), false},
		"does not delete them":            {in("app", "delete", "keycard.cloud", "keycardresources"), false},
		"applies Secrets":                 {in("app", "patch", "", "secrets"), true},
		"does not replace Secrets":        {in("app", "update", "", "secrets"), false},
		"does not delete Secrets":         {in("app", "delete", "", "secrets"), false},
		"records events":                  {in("app", "create", "events.k8s.io", "events"), true},
		"creates the Lease":               {in(namespace, "create", "coordination.k8s.io", "leases"), true},
		"renews the Lease":                {in(namespace, "update", "coordination.k8s.io", "leases", named(lease)), true},
		"takes nobody else's Lease":       {in(namespace, "update", "coordination.k8s.io", "leases", named("other")), false},
		"has no Lease in other places":    {in("app", "create", "coordination.k8s.io", "leases"), false},
		"records who leads":               {in(namespace, "create", "", "events"), true},
		"runs nothing":                    {in("app", "create", "", "pods"), false},
		"grants nothing":                  {in("app", "create", "rbac.authorization.k8s.io", "rolebindings"), false},
		"changes no namespaces":           {in("", "update", "", "namespaces"), false},
		"changes no kinds of the cluster": {in("", "patch", "apiextensions.k8s.io", "customresourcedefinitions"), false},
	} {
		t.Run(name, func(t *testing.T) {
			review := &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{User: operator, ResourceAttributes: &test.attributes},
			}
			review, err := clients.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if review.Status.Allowed != test.want {
				t.Errorf("allowed: %v %s", review.Status.Allowed, review.Status.Reason)
			}
		})
	}
}

func in(namespace, verb, group, resource string, more ...func(*authorizationv1.ResourceAttributes)) authorizationv1.ResourceAttributes {
	a := authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Group: group, Resource: resource}
	for _, m := range more {
		m(&a)
	}
	return a
}

func sub(name string) func(*authorizationv1.ResourceAttributes) {
	return func(a *authorizationv1.ResourceAttributes) { a.Subresource = name }
}

func named(name string) func(*authorizationv1.ResourceAttributes) {
	return func(a *authorizationv1.ResourceAttributes) { a.Name = name }
}
