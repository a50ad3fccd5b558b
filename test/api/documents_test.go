// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// restricted is a namespace that enforces the restricted Pod Security level, as careful platforms do.
const restricted = "restricted"

// The API server takes what the documents show, in such a namespace too.
func TestDocumentsAreAccepted(t *testing.T) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: restricted, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	if err := api.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	for _, document := range []string{"README.md", "docs/install.md", "docs/tokens.md", "docs/consume.md", "docs/gitops.md"} {
		raw, err := os.ReadFile("../../" + document)
		if err != nil {
			t.Fatal(err)
		}
		shown := 0
		for i, part := range strings.Split(string(raw), "```yaml\n")[1:] {
			text, _, _ := strings.Cut(part, "```")
			if !strings.Contains(text, "apiVersion:") {
				continue
			}
			shown++
			t.Run(fmt.Sprintf("%s %d", document, i), func(t *testing.T) {
				u := &unstructured.Unstructured{}
				if err := yaml.UnmarshalStrict([]byte(text), &u.Object); err != nil {
					t.Fatal(err)
				}
				u.SetNamespace(restricted)
				for _, o := range []*unstructured.Unstructured{u, podOf(u)} {
					if o == nil {
						continue
					}
					if err := api.Create(t.Context(), o, client.DryRunAll, client.FieldValidation("Strict")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		if shown == 0 {
			t.Errorf("%s shows no object", document)
		}
	}
}

// podOf gives the pod that a workload makes, which is what the level is enforced on; nil for what is no workload.
func podOf(u *unstructured.Unstructured) *unstructured.Unstructured {
	for _, path := range [][]string{{"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"}} {
		if spec, ok, _ := unstructured.NestedMap(u.Object, path...); ok {
			return &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "Pod", "spec": spec,
				"metadata": map[string]any{"name": u.GetName(), "namespace": u.GetNamespace()},
			}}
		}
	}
	return nil
}
