// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/keycardai/keycard-operator/internal/testenv"
)

// api talks to a real apiserver with the CRDs installed, as an administrator.
var (
	api     client.Client
	cluster *testenv.ControlPlane
)

func TestMain(m *testing.M) {
	os.Exit(runSuite(m))
}

func runSuite(m *testing.M) int {
	var err error
	if cluster, err = testenv.Start(testenv.Options{CRDs: true}); err != nil {
		fmt.Fprintln(os.Stderr, "starting the control plane:", err)
		return 1
	}
	if api, err = client.New(cluster.Config, client.Options{}); err == nil {
		err = api.Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns"}})
	}
	code := 1
	if err == nil {
		code = m.Run()
	}
	if err := cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the control plane:", err)
		return 1
	}
	return code
}

const resourceYAML = `
apiVersion: keycard.cloud/v1alpha1
kind: KeycardResource
metadata: {name: it, namespace: ns}
spec:
  zone: {id: zn-8f2c, serviceAccountSecretRef: {name: sa}}
  catalogEntry: confluence
  oauthAppSecretRef: {name: app}
`

const bindingYAML = `
apiVersion: keycard.cloud/v1alpha1
kind: ConfluenceTokenBinding
metadata: {name: it, namespace: ns}
spec:
  resourceRef: {name: confluence}
  application: {clientSecretRef: {name: app}}
  subject: {user: alice@example.com}
  secret: {name: token}
`

// row is one change of a valid object, and what the apiserver says to it.
type row struct {
	name string
	// path is the field, below the object; value is YAML, "" removes the field.
	path, value string
	// want is the whole complaint about the field, without the object's name; "" means accepted.
	want string
}

// object parses YAML and applies the row's change.
func (r row) object(t *testing.T, base string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(base), &u.Object); err != nil {
		t.Fatal(err)
	}
	r.change(t, u)
	return u
}

func (r row) change(t *testing.T, u *unstructured.Unstructured) {
	t.Helper()
	if r.path == "" {
		return
	}
	fields := strings.Split(r.path, ".")
	if r.value == "" {
		unstructured.RemoveNestedField(u.Object, fields...)
		return
	}
	var value any
	if err := yaml.Unmarshal([]byte(r.value), &value); err != nil {
		t.Fatal(err)
	}
	if err := unstructured.SetNestedField(u.Object, value, fields...); err != nil {
		t.Fatal(err)
	}
}

// complaint is what the apiserver says of the fields, in its own words.
func complaint(err error) string {
	if err == nil {
		return ""
	}
	status, ok := err.(apierrors.APIStatus)
	if !ok || status.Status().Details == nil {
		return err.Error()
	}
	var parts []string
	for _, cause := range status.Status().Details.Causes {
		if strings.Contains(cause.Message, "some validation rules were not checked") {
			continue // follows from another complaint
		}
		parts = append(parts, cause.Field+": "+cause.Message)
	}
	return strings.Join(parts, "\n")
}

func checkCreate(t *testing.T, base string, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			err := api.Create(t.Context(), r.object(t, base), client.DryRunAll, client.FieldValidation("Strict"))
			got := complaint(err)
			if r.want == "" && err != nil {
				t.Fatalf("refused: %s", got)
			}
			if r.want != "" && (err == nil || !strings.Contains(got, r.want)) {
				t.Errorf("said\n  %s\nwant\n  %s", got, r.want)
			}
		})
	}
}

const (
	notASecret  = "must be the name of a Secret: lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
	notAnOrigin = "must be a URL of scheme and host only, for example https://zn-8f2c.keycard.cloud, without path, query, user or trailing slash"
	notHTTPS    = "must use https; http is for loopback addresses only"
	badScope    = "each scope must be visible ASCII without spaces, quotes, brackets and backslashes (RFC 6749 section 3.3)"
	twice       = "lists a scope twice; remove one of them"
	offline     = "offline_access is added by the operator; remove it"
)

func long(n int) string { return strings.Repeat("a", n) }

func TestKeycardResourceCreate(t *testing.T) {
	many := func(n int) string {
		var scopes []string
		for i := range n {
			scopes = append(scopes, fmt.Sprintf("s%d", i))
		}
		return "{add: [" + strings.Join(scopes, ", ") + "]}"
	}
	rows := []row{
		{"as in the samples", "", "", ""},
		{"no zone", "spec.zone", "", "spec.zone: Required value"},
		{"no zone id", "spec.zone.id", "", "spec.zone.id: Required value"},
		{"empty zone id", "spec.zone.id", `""`, "should be at least 1 chars long"},
		{"zone id of 63", "spec.zone.id", long(63), ""},
		{"zone id of 64", "spec.zone.id", long(64), "Too long: may not be more than 63 bytes"},
		{"upper-case zone id", "spec.zone.id", "Zn8F2c", ""},
		{"zone id with a dot", "spec.zone.id", "zn.evil", "must be a zone id: letters, digits and '-', starting and ending with a letter or digit"},
		{"zone id with a slash", "spec.zone.id", "zn/evil", "must be a zone id"},
		{"zone id that ends with a hyphen", "spec.zone.id", "zn-", "must be a zone id"},
		{"no service account", "spec.zone.serviceAccountSecretRef", "", "spec.zone.serviceAccountSecretRef: Required value"},
		{"Secret name in upper case", "spec.zone.serviceAccountSecretRef.name", "SA", notASecret},
		{"Secret name of 254", "spec.oauthAppSecretRef.name", long(254), "Too long: may not be more than 253 bytes"},
		{"Secret name with a slash", "spec.oauthAppSecretRef.name", "a/b", notASecret},
		{"no OAuth app", "spec.oauthAppSecretRef", "", "spec.oauthAppSecretRef: Required value"},
		{"issuer", "spec.zone.issuer", "https://zone.example.com", ""},
		{"issuer with a port", "spec.zone.issuer", "https://zone.example.com:8443", ""},
		{"issuer with a slash", "spec.zone.issuer", "https://zone.example.com/", notAnOrigin},
		{"issuer with a path", "spec.zone.issuer", "https://zone.example.com/x", notAnOrigin},
		{"issuer with a query", "spec.zone.issuer", "https://zone.example.com?x=1", notAnOrigin},
		{"issuer with a user", "spec.zone.issuer", "https://me@zone.example.com", notAnOrigin},
		{"issuer with a space", "spec.zone.issuer", `"https://zone example.com"`, notAnOrigin},
		{"issuer by ftp", "spec.zone.issuer", "ftp://zone.example.com", notAnOrigin},
		{"issuer by http", "spec.zone.issuer", "http://zone.example.com", notHTTPS},
		{"issuer on loopback", "spec.zone.issuer", "http://127.0.0.1:8090", ""},
		{"issuer on localhost", "spec.zone.issuer", "http://localhost", ""},
		{"issuer on IPv6 loopback", "spec.zone.issuer", `"http://[::1]:8090"`, ""},
		{"issuer that looks like loopback", "spec.zone.issuer", "http://127.0.0.1.evil.example", notHTTPS},
		{"issuer that looks like localhost", "spec.zone.issuer", "http://localhost.evil.example:80", notHTTPS},
		{"API URL", "spec.zone.apiURL", "https://api.example.com", ""},
		{"API URL by http", "spec.zone.apiURL", "http://api.example.com", notHTTPS},
		{"API URL with a path", "spec.zone.apiURL", "https://api.example.com/v1", "must be a URL of scheme and host only, for example https://api.keycard.ai"},
		{"no catalog entry", "spec.catalogEntry", "", "spec.catalogEntry: Required value"},
		{"catalog entry in upper case", "spec.catalogEntry", "Confluence", "must be a catalog entry's name: lower-case letters, digits and '-'"},
		{"scopes to add", "spec.scopes", `{add: ["search:confluence"]}`, ""},
		{"scopes to set", "spec.scopes", `{set: ["search:confluence"]}`, ""},
		{"scopes of neither", "spec.scopes", `{}`, "exactly one of the fields in [add set] must be set"},
		{"scopes of both", "spec.scopes", `{add: [a], set: [b]}`, "exactly one of the fields in [add set] must be set"},
		{"no scopes to add", "spec.scopes", `{add: []}`, "should have at least 1 items"},
		{"50 scopes", "spec.scopes", many(50), ""},
		{"51 scopes", "spec.scopes", many(51), "must have at most 50 items"},
		{"a scope twice", "spec.scopes", `{add: [a, b, a]}`, twice},
		{"a scope twice, set", "spec.scopes", `{set: [a, a]}`, twice},
		{"a scope with a space", "spec.scopes", `{add: ["a b"]}`, badScope},
		{"a scope with a quote", "spec.scopes", `{set: ['a"b']}`, badScope},
		{"a scope with a line end", "spec.scopes", `{add: ["a\nb"]}`, badScope},
		{"a scope of 129", "spec.scopes", "{add: [" + long(129) + "]}", "Too long: may not be more than 128 bytes"},
		{"offline_access, added", "spec.scopes", `{add: [offline_access]}`, offline},
		{"offline_access, set", "spec.scopes", `{set: [offline_access]}`, offline},
		{"namespaces: same", "spec.allowedNamespaces", `{from: Same}`, ""},
		{"namespaces: all", "spec.allowedNamespaces", `{from: All}`, ""},
		{"namespaces: by label", "spec.allowedNamespaces", `{from: Selector, selector: {matchLabels: {a: b}}}`, ""},
		{"namespaces: no selector", "spec.allowedNamespaces", `{from: Selector}`, "selector is required when from is Selector, and not allowed otherwise"},
		{"namespaces: selector and all", "spec.allowedNamespaces", `{from: All, selector: {}}`, "selector is required when from is Selector, and not allowed otherwise"},
		{"namespaces: some", "spec.allowedNamespaces", `{from: Some}`, `supported values: "Same", "All", "Selector"`},
		{"adoption", "spec.adoptionPolicy", "Adopt", ""},
		{"adoption: maybe", "spec.adoptionPolicy", "Maybe", `supported values: "Refuse", "Adopt"`},
		{"deletion", "spec.deletionPolicy", "Delete", ""},
		{"deletion: orphan", "spec.deletionPolicy", "Orphan", `supported values: "Retain", "Delete"`},
		{"suspend", "spec.suspend", "true", ""},
		{"suspend in words", "spec.suspend", `"yes"`, "must be of type boolean"},
		{"a field that does not exist", "spec.clientSecret", "oops", `unknown field "spec.clientSecret"`},
	}
	checkCreate(t, resourceYAML, rows)
}

func TestConfluenceTokenBindingCreate(t *testing.T) {
	const (
		badLabelKey   = "each label's key must be a qualified name, for example example.com/team"
		badLabelValue = "each label's value must be at most 63 letters, digits, '-', '_' and '.', starting and ending with a letter or digit"
		reserved      = "uses a reserved prefix"
		badSite       = "must be the site's address in lower case, for example https://acme.atlassian.net, without path or trailing slash"
		oneApp        = "exactly one of the fields in [serviceAccountName clientSecretRef] must be set"
		oneSubject    = "exactly one of the fields in [user accessTokenSecretRef refreshTokenSecretRef application] must be set"
	)
	rows := []row{
		{"as in the samples", "", "", ""},
		{"no resource", "spec.resourceRef", "", "spec.resourceRef: Required value"},
		{"resource in upper case", "spec.resourceRef.name", "Confluence", "must be the name of a KeycardResource"},
		{"resource elsewhere", "spec.resourceRef.namespace", "platform", ""},
		{"namespace with a dot", "spec.resourceRef.namespace", "a.b", "must be the name of a namespace: lower-case letters, digits and '-'"},
		{"namespace of 64", "spec.resourceRef.namespace", long(64), "Too long: may not be more than 63 bytes"},
		{"workload identity", "spec.application", `{serviceAccountName: reports}`, ""},
		{"no application", "spec.application", `{}`, oneApp},
		{"two applications", "spec.application", `{serviceAccountName: a, clientSecretRef: {name: b}}`, oneApp},
		{"ServiceAccount in upper case", "spec.application", `{serviceAccountName: A}`, "must be the name of a ServiceAccount"},
		{"Secret without a name", "spec.application", `{clientSecretRef: {}}`, "spec.application.clientSecretRef.name: Required value"},
		{"by access token", "spec.subject", `{accessTokenSecretRef: {name: s, key: access_token}}`, ""},
		{"by refresh token", "spec.subject", `{refreshTokenSecretRef: {name: s, key: refresh_token}}`, ""},
		{"as itself", "spec.subject", `{application: {}}`, ""},
		{"for nobody", "spec.subject", `{}`, oneSubject},
		{"for two", "spec.subject", `{user: a, application: {}}`, oneSubject},
		{"a key with a slash", "spec.subject", `{accessTokenSecretRef: {name: s, key: a/b}}`, "must be a key of a Secret: letters, digits, '-', '_' and '.'"},
		{"no key", "spec.subject", `{accessTokenSecretRef: {name: s}}`, "spec.subject.accessTokenSecretRef.key: Required value"},
		{"user with a line end", "spec.subject", `{user: "a\nb"}`, "must be a user's identifier in the zone, without control characters, '<' and '>'"},
		{"user with a tag", "spec.subject", `{user: "<b>"}`, "must be a user's identifier in the zone"},
		{"user in other letters", "spec.subject", `{user: "Zoë 山田"}`, ""},
		{"user of 1024", "spec.subject", "{user: " + long(1024) + "}", ""},
		{"user of 1025", "spec.subject", "{user: " + long(1025) + "}", "Too long: may not be more than 1024 bytes"},
		{"scopes", "spec.scopes", `["read:confluence-content.all"]`, ""},
		{"no scopes", "spec.scopes", `[]`, "should have at least 1 items"},
		{"a scope twice", "spec.scopes", `[a, a]`, twice},
		{"a scope with a space", "spec.scopes", `["a b"]`, badScope},
		{"offline_access", "spec.scopes", `[offline_access]`, offline},
		{"site", "spec.site", `{url: "https://acme.atlassian.net"}`, ""},
		{"site by http", "spec.site", `{url: "http://acme.atlassian.net"}`, badSite},
		{"site with a slash", "spec.site", `{url: "https://acme.atlassian.net/"}`, badSite},
		{"site with a path", "spec.site", `{url: "https://acme.atlassian.net/wiki"}`, badSite},
		{"site without a URL", "spec.site", `{}`, "spec.site.url: Required value"},
		{"no Secret", "spec.secret", "", "spec.secret: Required value"},
		{"Secret in upper case", "spec.secret.name", "Token", notASecret},
		{"all formats", "spec.secret.formats", `[Header, Curl, Env, Properties]`, ""},
		{"netrc", "spec.secret.formats", `[Netrc]`, `supported values: "Header", "Curl", "Env", "Properties"`},
		{"a format twice", "spec.secret.formats", `[Env, Env]`, "Duplicate value"},
		{"no formats", "spec.secret.formats", `[]`, "should have at least 1 items"},
		{"labels", "spec.secret.labels", `{example.com/team: reports, app.kubernetes.io/name: reports}`, ""},
		{"label key with a space", "spec.secret.labels", `{"a b": c}`, badLabelKey},
		{"label value with a space", "spec.secret.labels", `{a: "b c"}`, badLabelValue},
		{"label value of 64", "spec.secret.labels", "{a: " + long(64) + "}", "Too long: may not be more than 63 bytes"},
		{"label of ours", "spec.secret.labels", `{keycard.cloud/x: me}`, reserved},
		{"label of Kubernetes", "spec.secret.labels", `{node.kubernetes.io/x: me}`, reserved},
		{"label managed-by", "spec.secret.labels", `{app.kubernetes.io/managed-by: me}`, reserved},
		{"label instance", "spec.secret.labels", `{app.kubernetes.io/instance: me}`, reserved},
		{"label of Argo", "spec.secret.labels", `{argocd.argoproj.io/instance: me}`, reserved},
		{"label of Flux", "spec.secret.labels", `{kustomize.toolkit.fluxcd.io/name: me}`, reserved},
		{"label that only looks like it", "spec.secret.labels", `{mykubernetes.io/x: me}`, ""},
		{"annotations", "spec.secret.annotations", `{example.com/owner: "any text"}`, ""},
		{"annotation of Argo that is a choice", "spec.secret.annotations", `{argocd.argoproj.io/compare-options: IgnoreExtraneous}`, ""},
		{"annotation that tracks", "spec.secret.annotations", `{argocd.argoproj.io/tracking-id: x}`, reserved},
		{"annotation of ours", "spec.secret.annotations", `{keycard.cloud/expires-at: never}`, reserved},
		{"annotation of kubectl", "spec.secret.annotations", `{kubectl.kubernetes.io/last-applied-configuration: x}`, reserved},
		{"annotation value of 1025", "spec.secret.annotations", "{a: " + long(1025) + "}", "Too long: may not be more than 1024 bytes"},
		{"annotation key with a space", "spec.secret.annotations", `{"a b": c}`, "each annotation's key must be a qualified name, for example example.com/team"},
		{"suspend", "spec.suspend", "true", ""},
		{"a field that does not exist", "spec.refreshInterval", "1h", `unknown field "spec.refreshInterval"`},
	}
	checkCreate(t, bindingYAML, rows)
}

// Identity does not change; the rest may.
func TestUpdate(t *testing.T) {
	tests := map[string]struct {
		base string
		rows []row
	}{
		"KeycardResource": {resourceYAML, []row{
			{"nothing", "", "", ""},
			{"zone", "spec.zone.id", "another", "spec.zone.id: Invalid value: \"another\": is immutable; create another KeycardResource for another zone"},
			{"catalog entry", "spec.catalogEntry", "jira", "spec.catalogEntry: Invalid value: \"jira\": is immutable; create another KeycardResource for another catalog entry"},
			{"issuer", "spec.zone.issuer", "https://zone.example.com", ""},
			{"service account", "spec.zone.serviceAccountSecretRef.name", "another", ""},
			{"OAuth app", "spec.oauthAppSecretRef.name", "another", ""},
			{"deletion policy", "spec.deletionPolicy", "Delete", ""},
		}},
		"ConfluenceTokenBinding": {bindingYAML, []row{
			{"nothing", "", "", ""},
			{"Secret", "spec.secret.name", "another", "spec.secret.name: Invalid value: \"another\": is immutable, because pods mount the Secret by name; create another ConfluenceTokenBinding for another Secret"},
			{"formats", "spec.secret.formats", "[Env]", ""},
			{"resource", "spec.resourceRef.name", "another", ""},
			{"subject", "spec.subject", "{application: {}}", ""},
			{"application", "spec.application", "{serviceAccountName: me}", ""},
			{"scopes", "spec.scopes", "[a]", ""},
		}},
	}
	for kind, tc := range tests {
		t.Run(kind, func(t *testing.T) {
			stored := row{}.object(t, tc.base)
			if err := api.Create(t.Context(), stored); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := api.Delete(context.Background(), stored); err != nil {
					t.Error(err)
				}
			})
			for _, r := range tc.rows {
				t.Run(r.name, func(t *testing.T) {
					u := stored.DeepCopy()
					r.change(t, u)
					err := api.Update(t.Context(), u, client.DryRunAll)
					if got := complaint(err); r.want == "" && err != nil || got != "" && got != r.want || r.want != "" && err == nil {
						t.Errorf("said\n  %s\nwant\n  %s", got, r.want)
					}
				})
			}
		})
	}
}
