// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

func crds(t *testing.T) map[string]apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	files, err := filepath.Glob("../../config/crd/bases/*.yaml")
	if err != nil || len(files) != 2 {
		t.Fatalf("found %v, %v", files, err)
	}
	out := map[string]apiextensionsv1.CustomResourceDefinition{}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > 64<<10 {
			t.Errorf("%s has %d bytes: kubectl apply keeps a copy in an annotation", f, len(raw))
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(raw, &crd); err != nil {
			t.Fatal(err)
		}
		out[crd.Spec.Names.Kind] = crd
	}
	return out
}

// No default under spec, so that GitOps tools see no drift; a description on each field, for kubectl
// explain; no webhook.
func TestSchema(t *testing.T) {
	for kind, crd := range crds(t) {
		if crd.Spec.Conversion != nil && crd.Spec.Conversion.Webhook != nil {
			t.Errorf("%s has a conversion webhook", kind)
		}
		if !slices.Contains(crd.Spec.Names.Categories, "keycard") || len(crd.Spec.Names.ShortNames) != 1 {
			t.Errorf("%s has categories %v and short names %v", kind, crd.Spec.Names.Categories, crd.Spec.Names.ShortNames)
		}
		for _, v := range crd.Spec.Versions {
			if len(v.SelectableFields) != 2 {
				t.Errorf("%s has selectable fields %v", kind, v.SelectableFields)
			}
			walk(kind, *v.Schema.OpenAPIV3Schema, func(path string, s apiextensionsv1.JSONSchemaProps) {
				if s.Default != nil {
					t.Errorf("%s has a default", path)
				}
				if s.Description == "" && !strings.HasSuffix(path, "[]") {
					t.Errorf("%s has no description", path)
				}
			})
		}
	}
}

func walk(path string, s apiextensionsv1.JSONSchemaProps, visit func(string, apiextensionsv1.JSONSchemaProps)) {
	visit(path, s)
	for name, p := range s.Properties {
		if path+"."+name != path+".metadata" {
			walk(path+"."+name, p, visit)
		}
	}
	if s.Items != nil && s.Items.Schema != nil {
		walk(path+"[]", *s.Items.Schema, visit)
	}
}

// What people type and see: short names, the category, columns, field selectors, explain.
func TestKubectl(t *testing.T) {
	resource, binding := row{}.object(t, resourceYAML), row{}.object(t, bindingYAML)
	for _, o := range []client.Object{resource, binding} {
		o.SetName("seen")
		if err := api.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := api.Delete(context.Background(), o); err != nil {
				t.Error(err)
			}
		})
	}
	binding.Object["status"] = map[string]any{
		"expiresAt": "2026-03-01T12:00:00Z", "conditions": []any{map[string]any{
			"type": "Ready", "status": "True", "reason": "Ready", "message": "the Secret holds a token that works",
			"lastTransitionTime": "2026-03-01T11:00:00Z",
		}},
	}
	if err := api.Status().Update(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args string
		says []string
	}{
		{"get ctb", []string{"READY", "REASON", "SECRET", "EXPIRES", "AGE", "True", "token", "2026-03-01T12:00:00Z"}},
		{"get ctb -o wide", []string{"REFRESH", "USER", "SITE", "MESSAGE", "alice@example.com", "the Secret holds"}},
		{"get kcr -o wide", []string{"READY", "REASON", "ENTRY", "ZONE", "REDIRECT URI", "AGE", "zn-8f2c"}},
		{"get keycard", []string{"keycardresource.keycard.cloud/seen", "confluencetokenbinding.keycard.cloud/seen"}},
		{"get ctb --field-selector spec.secret.name=token,spec.resourceRef.name=confluence", []string{"seen"}},
		{"get kcr --field-selector spec.zone.id=zn-8f2c,spec.catalogEntry=confluence", []string{"seen"}},
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
