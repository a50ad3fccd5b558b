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
	restartPermissions(t, c)
}

// Who may restart workloads is up to each namespace, and it is a permission to patch them.
func restartPermissions(t *testing.T, c *testenv.ControlPlane) {
	t.Helper()
	for _, args := range [][]string{
		{"create", "namespace", "legacy"},
		{"create", "rolebinding", "keycard-operator-restart", "-n", "legacy", "--clusterrole=keycard-operator-restart", "--serviceaccount=keycard-system:keycard-operator"},
	} {
		if _, err := c.Kubectl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]check{
		"patches Deployments":       {in("legacy", "patch", "apps", "deployments"), true},
		"patches StatefulSets":      {in("legacy", "patch", "apps", "statefulsets"), true},
		"patches DaemonSets":        {in("legacy", "patch", "apps", "daemonsets"), true},
		"reads none":                {in("legacy", "get", "apps", "deployments"), false},
		"scales none":               {in("legacy", "patch", "apps", "deployments", sub("scale")), false},
		"patches no ReplicaSets":    {in("legacy", "patch", "apps", "replicasets"), false},
		"patches nothing elsewhere": {in("app", "patch", "apps", "deployments"), false},
	} {
		t.Run(name, func(t *testing.T) { test.run(t, kubernetes.NewForConfigOrDie(c.Config)) })
	}
}

// check is an attempt of the operator, and whether it is allowed.
type check struct {
	attributes authorizationv1.ResourceAttributes
	want       bool
}

func (c check) run(t *testing.T, clients kubernetes.Interface) {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: operator, ResourceAttributes: &c.attributes},
	}
	review, err := clients.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if review.Status.Allowed != c.want {
		t.Errorf("allowed: %v %s", review.Status.Allowed, review.Status.Reason)
	}
}

func permissions(t *testing.T, clients kubernetes.Interface) {
	t.Helper()
	for name, test := range map[string]check{
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
		"restarts nothing":                {in("app", "patch", "apps", "deployments"), false},
		"runs nothing":                    {in("app", "create", "", "pods"), false},
		"grants nothing":                  {in("app", "create", "rbac.authorization.k8s.io", "rolebindings"), false},
		"changes no namespaces":           {in("", "update", "", "namespaces"), false},
		"changes no kinds of the cluster": {in("", "patch", "apiextensions.k8s.io", "customresourcedefinitions"), false},
	} {
		t.Run(name, func(t *testing.T) { test.run(t, clients) })
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
