// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package manifests tests that what config/ ships can be applied, and grants what the operator needs and
// no more.
package manifests

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/keycardai/keycard-operator/test/testenv"
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
	apply(t, c, "-k", "../../config/default")
	permissions(t, kubernetes.NewForConfigOrDie(c.Config))
	restartPermissions(t, c)
	withFlags(t, c)
	const team = "team"
	if out, err := c.Kubectl(t.Context(), "create", "namespace", team); err != nil {
		t.Fatal(err, out)
	}
	apply(t, c, "-n", team, "-k", "../../config/namespaced")
	permissionsInNamespace(t, kubernetes.NewForConfigOrDie(c.Config), team)
	apply(t, c, "-f", render(t, namespace, consent).write(t))
}

// withFlags applies what docs/deploy.md shows for an operator with other flags.
func withFlags(t *testing.T, c *testenv.ControlPlane) {
	t.Helper()
	document, err := os.ReadFile("../../docs/deploy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(document), "```yaml\napiVersion: kustomize.config.k8s.io/v1beta1\n")
	shown, _, _ = strings.Cut(shown, "```")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(shown), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "keycard-operator", "config"), os.DirFS("../../config")); err != nil {
		t.Fatal(err)
	}
	apply(t, c, "-k", dir)
	container, err := c.Kubectl(t.Context(), "-n", namespace, "get", "deployment/keycard-operator", "-o", "jsonpath={.spec.template.spec.containers[0]}")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"--check-interval=5m"`, `"--leader-elect`, `"image":"registry.example.com/keycard-operator:v1"`} {
		if !strings.Contains(container, part) {
			t.Errorf("the Deployment lacks %s: %s", part, container)
		}
	}
}

// apply applies twice: kubectl prints the server's warnings, of fields it does not know and of what the namespace's
// Pod Security level would refuse. Afterwards nothing differs.
func apply(t *testing.T, c *testenv.ControlPlane, args ...string) {
	t.Helper()
	out, err := c.Kubectl(t.Context(), append([]string{"apply"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out, "Warning") {
		t.Errorf("applying %v: %s", args, out)
	}
	if out, err = c.Kubectl(t.Context(), append([]string{"apply"}, args...)...); err != nil {
		t.Errorf("applying %v again: %v: %s", args, err, out)
	}
	if out, err = c.Kubectl(t.Context(), append([]string{"diff"}, args...)...); err != nil {
		t.Errorf("applied manifests differ from what the server keeps: %v: %s", err, out)
	}
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
	check(t, kubernetes.NewForConfigOrDie(c.Config), operator, map[string]review{
		"patches Deployments":       {in("legacy", "patch", "apps", "deployments"), true},
		"patches StatefulSets":      {in("legacy", "patch", "apps", "statefulsets"), true},
		"patches DaemonSets":        {in("legacy", "patch", "apps", "daemonsets"), true},
		"reads none":                {in("legacy", "get", "apps", "deployments"), false},
		"scales none":               {in("legacy", "patch", "apps", "deployments", sub("scale")), false},
		"patches no ReplicaSets":    {in("legacy", "patch", "apps", "replicasets"), false},
		"patches nothing elsewhere": {in("app", "patch", "apps", "deployments"), false},
	})
}

// The operator of one namespace has nothing outside of it, and may read the namespace itself.
func permissionsInNamespace(t *testing.T, clients kubernetes.Interface, team string) {
	t.Helper()
	user := "system:serviceaccount:" + team + ":keycard-operator"
	check(t, clients, user, map[string]review{
		"reads the kinds in it":         {in(team, "list", "keycard.cloud", "confluencetokenbindings"), true},
		"applies Secrets in it":         {in(team, "patch", "", "secrets"), true},
		"reads its namespace":           {in(team, "get", "", "namespaces", named(team)), true},
		"creates its Lease":             {in(team, "create", "coordination.k8s.io", "leases"), true},
		"reads no other namespace":      {in(namespace, "get", "", "namespaces", named(namespace)), false},
		"watches no namespaces":         {in("", "watch", "", "namespaces"), false},
		"reads no Secrets elsewhere":    {in(namespace, "get", "", "secrets"), false},
		"reads no kinds elsewhere":      {in("", "list", "keycard.cloud", "confluencetokenbindings"), false},
		"requests no tokens elsewhere":  {in(namespace, "create", "", "serviceaccounts", sub("token")), false},
		"does not delete Secrets in it": {in(team, "delete", "", "secrets"), false},
		"restarts nothing in it":        {in(team, "patch", "apps", "deployments"), false},
	})
}

type review struct {
	attributes authorizationv1.ResourceAttributes
	want       bool
}

// The Roles of config/namespaced have the rules of the ClusterRoles, without those that need the cluster.
func TestNamespacedRole(t *testing.T) {
	want, got := rules(t, "../../config/rbac/role.yaml"), rules(t, "../../config/namespaced/watched/role.yaml")
	for _, needsCluster := range []string{"get /.well-known/openid-configuration", "list /namespaces", "watch /namespaces"} {
		if !want[needsCluster] {
			t.Errorf("config/rbac/role.yaml has no %s", needsCluster)
		}
		delete(want, needsCluster)
	}
	if !maps.Equal(want, got) {
		t.Errorf("config/namespaced/watched/role.yaml has\n%v, want\n%v", got, want)
	}
	want, got = rules(t, "../../config/rbac/restart.yaml"), rules(t, "../../config/namespaced/watched/restart.yaml")
	if !maps.Equal(want, got) {
		t.Errorf("config/namespaced/watched/restart.yaml has\n%v, want\n%v", got, want)
	}
}

// rules gives the permissions of a role in a file.
func rules(t *testing.T, path string) map[string]bool {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var role rbacv1.ClusterRole // a Role has the same rules
	if err := yaml.UnmarshalStrict(raw, &role); err != nil {
		t.Fatal(err)
	}
	return permitted(role.Rules)
}

// permitted gives each permission of rules as "verb group/resource", or "verb /path".
func permitted(rules []rbacv1.PolicyRule) map[string]bool {
	found := map[string]bool{}
	for _, rule := range rules {
		for _, verb := range rule.Verbs {
			for _, url := range rule.NonResourceURLs {
				found[verb+" "+url] = true
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					found[verb+" "+group+"/"+resource] = true
				}
			}
		}
	}
	return found
}

func permissions(t *testing.T, clients kubernetes.Interface) {
	t.Helper()
	check(t, clients, operator, map[string]review{
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
	})
}

func check(t *testing.T, clients kubernetes.Interface, user string, reviews map[string]review) {
	t.Helper()
	for name, test := range reviews {
		t.Run(name, func(t *testing.T) {
			review := &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &test.attributes},
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
