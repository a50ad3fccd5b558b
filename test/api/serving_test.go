// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// A member of a union that has no fields is there or not there, and stays so.
func TestSubjectApplicationSurvives(t *testing.T) {
	base := strings.Replace(bindingYAML, "{user: alice@example.com}", "{application: {}}", 1)
	u := stored(t, "itself", base)
	var b v1alpha1.ConfluenceTokenBinding
	for range 2 { // as it was created, and as a typed client wrote it back
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(u), &b); err != nil {
			t.Fatal(err)
		}
		if b.Spec.Subject.Application == nil || b.Spec.Subject.User != "" {
			t.Fatalf("subject is %+v", b.Spec.Subject)
		}
		b.Labels = map[string]string{"written": "back"}
		if err := api.Update(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
	}
	if b.Generation != 1 {
		t.Errorf("a typed client changed the spec: generation %d", b.Generation)
	}
}

// What is stored is what was written: nothing is added, whoever reads it.
func TestNothingIsAdded(t *testing.T) {
	for kind, base := range map[string]string{"KeycardResource": resourceYAML, "ConfluenceTokenBinding": bindingYAML} {
		t.Run(kind, func(t *testing.T) {
			u := stored(t, "plain", base)
			got, err := yaml.Marshal(u.Object["spec"])
			if err != nil {
				t.Fatal(err)
			}
			want, err := yaml.Marshal(object(t, base).Object["spec"])
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("stored\n%s\nwant\n%s", got, want)
			}
			if status, ok := u.Object["status"]; ok {
				t.Errorf("has a status before the operator saw it: %v", status)
			}
		})
	}
}

// table asks for what kubectl get shows.
func table(t *testing.T, path string) metav1.Table {
	t.Helper()
	c, err := kubernetes.NewForConfig(cluster.Config)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.RESTClient().Get().AbsPath("/apis/keycard.cloud/v1alpha1/namespaces/ns/"+path).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out metav1.Table
	if err := json.Unmarshal(raw, &out); err != nil || len(out.Rows) != 1 {
		t.Fatalf("%d rows, %v", len(out.Rows), err)
	}
	return out
}

func TestColumns(t *testing.T) {
	const condition = `[{type: Ready, status: "False", reason: TokenExpired, message: "it has expired", lastTransitionTime: "2026-03-01T11:00:00Z"}]`
	tests := map[string]struct {
		base, path string
		status     map[string]string
		// narrow and wide are the columns of kubectl get, and those that -o wide adds.
		narrow, wide []string
		cells        map[string]any
	}{
		"KeycardResource": {
			resourceYAML, "keycardresources/columns",
			map[string]string{"conditions": condition, "redirectURI": "https://z.example/r"},
			[]string{"Name", "Ready", "Reason", "Entry", "Zone", "Age"},
			[]string{"Redirect URI", "Message"},
			map[string]any{
				"Name": "columns", "Ready": "False", "Reason": "TokenExpired", "Entry": "confluence", "Zone": "zn-8f2c",
				"Redirect URI": "https://z.example/r", "Message": "it has expired",
			},
		},
		"ConfluenceTokenBinding": {
			bindingYAML, "confluencetokenbindings/columns",
			map[string]string{
				"conditions": condition, "expiresAt": `"2026-03-01T12:00:00Z"`, "refreshAt": `"2026-03-01T11:40:00Z"`,
				"site": `{url: "https://acme.atlassian.net", cloudID: c}`,
			},
			[]string{"Name", "Ready", "Reason", "Secret", "Expires", "Age"},
			[]string{"Refresh", "User", "Site", "Message"},
			map[string]any{
				"Name": "columns", "Ready": "False", "Reason": "TokenExpired", "Secret": "token", "Expires": "2026-03-01T12:00:00Z",
				"Refresh": "2026-03-01T11:40:00Z", "User": "alice@example.com", "Site": "https://acme.atlassian.net", "Message": "it has expired",
			},
		},
	}
	for kind, tc := range tests {
		t.Run(kind, func(t *testing.T) {
			u := stored(t, "columns", tc.base)
			for field, value := range tc.status {
				row{path: "status." + field, value: value}.change(t, u)
			}
			if err := api.Status().Update(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			got := table(t, tc.path)
			var narrow, wide []string
			for i, c := range got.ColumnDefinitions {
				if c.Priority == 0 {
					narrow = append(narrow, c.Name)
				} else {
					wide = append(wide, c.Name)
				}
				if want, ok := tc.cells[c.Name]; ok && got.Rows[0].Cells[i] != want {
					t.Errorf("column %s shows %v, want %v", c.Name, got.Rows[0].Cells[i], want)
				}
			}
			if strings.Join(narrow, ",") != strings.Join(tc.narrow, ",") || strings.Join(wide, ",") != strings.Join(tc.wide, ",") {
				t.Errorf("columns %q, wide %q; want %q, %q", narrow, wide, tc.narrow, tc.wide)
			}
		})
	}
}

func TestFieldSelectors(t *testing.T) {
	stored(t, "a", resourceYAML)
	stored(t, "b", strings.NewReplacer("zn-8f2c", "zn-b", "catalogEntry: confluence", "catalogEntry: other").Replace(resourceYAML))
	stored(t, "a", bindingYAML)
	stored(t, "b", strings.NewReplacer("resourceRef: {name: confluence}", "resourceRef: {name: other}", "{name: token}", "{name: other}").Replace(bindingYAML))
	tests := []struct{ kind, field, value, want string }{
		{"KeycardResource", "spec.zone.id", "zn-b", "b"},
		{"KeycardResource", "spec.zone.id", "zn-8f2c", "a"},
		{"KeycardResource", "spec.zone.id", "zn", ""},
		{"KeycardResource", "spec.catalogEntry", "other", "b"},
		{"KeycardResource", "metadata.name", "a", "a"},
		{"ConfluenceTokenBinding", "spec.resourceRef.name", "other", "b"},
		{"ConfluenceTokenBinding", "spec.resourceRef.name", "confluence", "a"},
		{"ConfluenceTokenBinding", "spec.secret.name", "other", "b"},
		{"ConfluenceTokenBinding", "spec.secret.name", "nobody", ""},
	}
	for _, tc := range tests {
		t.Run(tc.field+"="+tc.value, func(t *testing.T) {
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(tc.kind + "List"))
			if err := api.List(t.Context(), list, client.InNamespace("ns"), client.MatchingFields{tc.field: tc.value}); err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, u := range list.Items {
				names = append(names, u.GetName())
			}
			if got := strings.Join(names, ","); got != tc.want {
				t.Errorf("selected %q, want %q", got, tc.want)
			}
		})
	}
}

// What people type: short names, the category, explain.
func TestKubectl(t *testing.T) {
	stored(t, "seen", resourceYAML)
	stored(t, "seen", bindingYAML)
	tests := []struct {
		args string
		says []string
	}{
		{"get kcr -o name", []string{"keycardresource.keycard.cloud/seen"}},
		{"get ctb -o name", []string{"confluencetokenbinding.keycard.cloud/seen"}},
		{"get keycard -o name", []string{"keycardresource.keycard.cloud/seen", "confluencetokenbinding.keycard.cloud/seen"}},
		{"get ctb -o wide", []string{"READY", "REASON", "SECRET", "EXPIRES", "AGE", "REFRESH", "USER", "SITE", "MESSAGE", "alice@example.com"}},
		{"get kcr --field-selector spec.zone.id=another", []string{"No resources found"}},
		{"explain keycardresource.spec.zone.issuer", []string{"Absent means https://<id>.keycard.cloud"}},
		{"explain ctb.spec.subject", []string{"Exactly one of its fields is set", "refreshTokenSecretRef"}},
	}
	for _, tc := range tests {
		t.Run(tc.args, func(t *testing.T) {
			out, err := cluster.Kubectl(t.Context(), append([]string{"-n", "ns"}, strings.Fields(tc.args)...)...)
			if err != nil {
				t.Fatal(err)
			}
			flat := strings.Join(strings.Fields(out), " ")
			for _, part := range tc.says {
				if !strings.Contains(flat, part) {
					t.Errorf("does not say %q:\n%s", part, out)
				}
			}
		})
	}
}
