// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// The API server takes what the documents show.
func TestDocumentsAreAccepted(t *testing.T) {
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
				u.SetNamespace("default")
				if err := api.Create(t.Context(), u, client.DryRunAll, client.FieldValidation("Strict")); err != nil {
					t.Error(err)
				}
			})
		}
		if shown == 0 {
			t.Errorf("%s shows no object", document)
		}
	}
}
