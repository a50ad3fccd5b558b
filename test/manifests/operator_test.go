// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"bufio"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// The operator's life in a cluster, with what is shipped: everything it does is permitted, and everything that is permitted
// it does; and however it is removed, nothing is left.
func TestOperatorsLife(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	d.kubectl("create", "configmap", "-n", "platform", "ca", "--from-literal=ca.crt="+string(d.c.Config.CAData))
	before := d.everything()
	d.install("../..")
	_, stop := d.start(d.build("../.."))
	d.useEverything()
	d.kubectl("delete", "-n", "app", "confluencetokenbinding/wiki", "--timeout=60s")
	d.untilGone("wiki-token")
	d.removeTheKinds()
	d.removeTheObjects()
	t.Run("least privilege", d.leastPrivilege)
	t.Run("what is granted without a request", d.impliedGrants)
	d.kubectl("delete", "-k", "../../config/default", "--timeout=60s")
	stop()
	d.nothingBut(before)
}

// fullInstall uses what an install can: applications, workloads, a policy, certificates, a selector, a finalizer.
const fullInstall = `
apiVersion: keycard.cloud/v1alpha1
kind: KeycardResource
metadata: {namespace: platform, name: confluence}
spec:
  zone:
    id: $ZONE
    issuer: $ISSUER
    apiURL: $API
    serviceAccountSecretRef: {name: service-account}
    caBundle: {configMapKeyRef: {name: ca, key: ca.crt}}
  catalogEntry: confluence
  oauthAppSecretRef: {name: oauth-app}
  allowedNamespaces: {from: Selector, selector: {matchLabels: {confluence: "true"}}}
  applications: [{identifier: reports}]
  workloadRegistration: {jwksURI: $KEYS}
  policies:
    - name: wiki-for-alice
      cedar: |
        permit (principal is Keycard::Application, action, resource)
        when { context.impersonate && context has subject && context.subject.identifier == "alice@example.com" &&
          principal.identifier == "urn:kubernetes:$CLUSTER:serviceaccount:app:wiki" };
  deletionPolicy: Delete
`

// itsBindings are one that has a client secret, and one that has none.
const itsBindings = `
apiVersion: keycard.cloud/v1alpha1
kind: ConfluenceTokenBinding
metadata: {namespace: app, name: reports}
spec:
  resourceRef: {namespace: platform, name: confluence}
  application: {clientSecretRef: {name: reports-app}}
  subject: {user: alice@example.com}
  scopes: ["read:confluence-content.all"]
  secret: {name: reports-token}
---
apiVersion: keycard.cloud/v1alpha1
kind: ConfluenceTokenBinding
metadata: {namespace: app, name: wiki}
spec:
  resourceRef: {namespace: platform, name: confluence}
  application: {serviceAccountName: wiki}
  subject: {user: alice@example.com}
  scopes: ["read:confluence-content.all"]
  secret: {name: wiki-token}
`

// applyEverything applies an install with all it can have, its bindings, and another install, and waits for the installs.
func (d *deployment) applyEverything() {
	d.t.Helper()
	d.apply(strings.NewReplacer(
		"$KEYS", d.publishKeys(),
		"$CLUSTER", d.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"),
	).Replace(fullInstall))
	d.apply(itsBindings)
	d.apply(strings.ReplaceAll(keptInstall, "confluence", "jira")) // with deletionPolicy Retain
	d.untilReady("platform", "keycardresource/confluence", "keycardresource/kept")
}

// useEverything has the operator do all that it does; a failure comes and goes.
func (d *deployment) useEverything() {
	d.t.Helper()
	d.applyEverything()
	d.untilReady("app", "confluencetokenbinding/reports", "confluencetokenbinding/wiki")
	d.clientSecret("wrong")
	d.kubectl("annotate", "-n", "app", "confluencetokenbinding/reports", "keycard.cloud/refresh-requested-at=now")
	d.untilTokenIssued("RefreshFailing")
	d.clientSecret("dev-only-reports-password")
	d.untilTokenIssued("Issued")
}

func (d *deployment) clientSecret(value string) {
	d.t.Helper()
	d.kubectl("patch", "-n", "app", "secret/reports-app", "--type=merge", `-p={"stringData":{"client_secret":"`+value+`"}}`)
}

func (d *deployment) untilTokenIssued(reason string) {
	d.t.Helper()
	d.kubectl("wait", "-n", "app", "--timeout=60s", `--for=jsonpath={.status.conditions[?(@.type=="TokenIssued")].reason}=`+reason, "confluencetokenbinding/reports")
}

// removeTheKinds removes the CRDs, and with them all objects, while the operator runs. When they are back, it goes on:
// people have to consent anew, since the zone's resource is another one.
func (d *deployment) removeTheKinds() {
	d.t.Helper()
	d.kubectl("delete", "-k", "../../config/crd", "--timeout=60s")
	d.untilGone("-token")
	d.install("../..")
	d.applyEverything()
}

// removeTheObjects does what comes before the operator's own removal.
func (d *deployment) removeTheObjects() {
	d.t.Helper()
	for _, kind := range []string{"confluencetokenbindings", "keycardresources"} {
		d.kubectl("delete", kind, "--all", "--all-namespaces", "--timeout=60s")
	}
	d.untilGone("-token")
}

// untilGone waits until no Secret of the application's namespace has a name that ends so.
func (d *deployment) untilGone(suffix string) {
	d.t.Helper()
	d.eventually("the Secrets named *"+suffix+" are gone", func(context.Context) (bool, error) {
		return !strings.Contains(d.versions(), suffix+"="), nil
	})
}

// everything lists all objects of the cluster but events, which go by themselves.
func (d *deployment) everything() map[string]bool {
	d.t.Helper()
	kinds := slices.DeleteFunc(strings.Fields(d.kubectl("api-resources", "--verbs=list", "-o", "name")), func(kind string) bool {
		return kind == "componentstatuses" || strings.HasPrefix(kind, "events")
	})
	lines := map[string]bool{}
	for line := range strings.Lines(d.kubectl("get", strings.Join(kinds, ","), "--all-namespaces", "--no-headers",
		"-o", "custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name")) {
		lines[strings.Join(strings.Fields(line), " ")] = true
	}
	return lines
}

// nothingBut waits until nothing is there that was not there before.
func (d *deployment) nothingBut(before map[string]bool) {
	d.t.Helper()
	var left map[string]bool
	if err := program.Until(d.t.Context(), patience, func(context.Context) (bool, error) {
		left = d.everything()
		maps.DeleteFunc(left, func(line string, _ bool) bool { return before[line] })
		return len(left) == 0, nil
	}); err != nil {
		d.t.Fatalf("left behind: %v", slices.Sorted(maps.Keys(left)))
	}
}

// implied are the permissions that no request needs by itself, and what needs them.
var implied = map[string]string{
	"create /secrets": "an apply may create: the server asks for this permission while it serves the patch",
	"update keycard.cloud/confluencetokenbindings/finalizers": "the Secret's owner reference blocks the deletion of its binding, which admission lets nobody ask for who may not do it",
}

// seldom are permissions that take a coincidence to be used, and what that is.
var seldom = map[string]string{
	"patch events.k8s.io/events": "client-go counts an event up that is recorded again for the same version of an object",
}

// leastPrivilege compares what was granted with what was asked for.
func (d *deployment) leastPrivilege(t *testing.T) {
	used := d.used(t)
	granted := permitted(d.clusterRole().Rules)
	role, err := d.clients().RbacV1().Roles(namespace).Get(t.Context(), "keycard-operator-leader-election", metav1.GetOptions{})
	d.must(err)
	maps.Copy(granted, permitted(role.Rules))
	for permission := range granted {
		if !used[permission] && implied[permission] == "" && seldom[permission] == "" {
			t.Errorf("%q is granted, and nothing needs it", permission)
		}
	}
	for permission := range used {
		_, path, _ := strings.Cut(permission, " ")
		if !granted[permission] && !discovery(path) {
			t.Errorf("%q is used, and not granted by what is shipped", permission)
		}
	}
}

// discovery tells whether everybody who is signed in may read a path.
func discovery(path string) bool {
	return path == "/api" || path == "/apis" || strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/apis/")
}

// request is what the audit log keeps of a request.
type request struct {
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	ObjectRef  *struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		APIGroup    string `json:"apiGroup"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// used gives each permission that the operator used, as permitted does. What was forbidden fails the test.
func (d *deployment) used(t *testing.T) map[string]bool {
	t.Helper()
	file, err := os.Open(d.c.AuditLog())
	d.must(err)
	defer file.Close()
	found := map[string]bool{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r request
		d.must(json.Unmarshal(lines.Bytes(), &r))
		if r.ResponseStatus.Code == 403 {
			t.Errorf("forbidden: %s %s", r.Verb, r.RequestURI)
		}
		uri, err := url.ParseRequestURI(r.RequestURI)
		d.must(err)
		if r.ObjectRef == nil {
			found[r.Verb+" "+uri.Path] = true
			continue
		}
		resource := r.ObjectRef.APIGroup + "/" + r.ObjectRef.Resource
		if r.ObjectRef.Subresource != "" {
			resource += "/" + r.ObjectRef.Subresource
		}
		found[r.Verb+" "+resource] = true
		// A watch that begins with what there is takes the place of a list. Clients fall back to the list where the server
		// can't do that.
		if uri.Query().Get("sendInitialEvents") == "true" {
			found["list "+resource] = true
		}
	}
	d.must(lines.Err())
	return found
}

func (d *deployment) clusterRole() *rbacv1.ClusterRole {
	d.t.Helper()
	role, err := d.clients().RbacV1().ClusterRoles().Get(d.t.Context(), "keycard-operator", metav1.GetOptions{})
	d.must(err)
	return role
}

// ownedSecret is what the operator writes for a binding, as far as permissions go.
const ownedSecret = `
apiVersion: v1
kind: Secret
metadata:
  namespace: app
  name: probe-token
  ownerReferences:
    - apiVersion: keycard.cloud/v1alpha1
      kind: ConfluenceTokenBinding
      name: probe
      uid: 00000000-0000-4000-8000-000000000000
      controller: true
      blockOwnerDeletion: true
`

// impliedGrants shows that the operator could write no Secret without any of the grants in implied.
func (d *deployment) impliedGrants(t *testing.T) {
	file := d.dir + "/secret.yaml"
	d.must(os.WriteFile(file, []byte(ownedSecret), 0o600))
	mayWrite := func() (bool, string) {
		out, err := d.c.Kubectl(t.Context(), "--as="+operator, "apply", "--server-side", "--dry-run=server", "--validate=false", "-f", file)
		return err == nil, out
	}
	if may, out := mayWrite(); !may {
		t.Fatal(out)
	}
	for permission, reason := range implied {
		verb, resource, _ := strings.Cut(permission, " ")
		group, resource, _ := strings.Cut(resource, "/")
		role := d.clusterRole()
		shipped := role.DeepCopy().Rules
		role.Rules = without(role.Rules, verb, group, resource)
		role, err := d.clients().RbacV1().ClusterRoles().Update(t.Context(), role, metav1.UpdateOptions{})
		d.must(err)
		if err := program.Until(t.Context(), patience, func(context.Context) (bool, error) {
			may, out := mayWrite()
			return !may && strings.Contains(strings.ToLower(out), "forbidden"), nil
		}); err != nil {
			t.Errorf("the operator writes Secrets without %q, so this is wrong: %s", permission, reason)
		}
		role.Rules = shipped
		_, err = d.clients().RbacV1().ClusterRoles().Update(t.Context(), role, metav1.UpdateOptions{})
		d.must(err)
	}
}

// without gives the rules with one verb less for a resource.
func without(rules []rbacv1.PolicyRule, verb, group, resource string) (fewer []rbacv1.PolicyRule) {
	for _, rule := range rules {
		if slices.Contains(rule.APIGroups, group) && slices.Contains(rule.Resources, resource) {
			rule.Verbs = slices.DeleteFunc(slices.Clone(rule.Verbs), func(v string) bool { return v == verb })
		}
		if len(rule.Verbs) > 0 {
			fewer = append(fewer, rule)
		}
	}
	return fewer
}

// publishKeys publishes the keys that sign the cluster's ServiceAccount tokens where a zone can read them.
func (d *deployment) publishKeys() string {
	keys := d.kubectl("get", "--raw", "/openid/v1/jwks")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(keys))
	}))
	d.t.Cleanup(server.Close)
	return server.URL + "/jwks"
}
