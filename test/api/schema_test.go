// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

type schema = apiextensionsv1.JSONSchemaProps

// crds are the shipped files, by kind.
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
		if len(raw) >= 64<<10 {
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

// No default, so that GitOps tools see no drift; a description on each field, for kubectl explain; no webhook.
func TestSchema(t *testing.T) {
	shortNames := map[string]string{"KeycardResource": "kcr", "ConfluenceTokenBinding": "ctb"}
	for kind, crd := range crds(t) {
		if c := crd.Spec.Conversion; c != nil && c.Strategy != apiextensionsv1.NoneConverter {
			t.Errorf("%s is converted by %s", kind, c.Strategy)
		}
		if !slices.Equal(crd.Spec.Names.Categories, []string{"keycard"}) || !slices.Equal(crd.Spec.Names.ShortNames, []string{shortNames[kind]}) {
			t.Errorf("%s has categories %v and short names %v", kind, crd.Spec.Names.Categories, crd.Spec.Names.ShortNames)
		}
		if crd.Spec.Scope != apiextensionsv1.NamespaceScoped || len(crd.Spec.Versions) != 1 {
			t.Errorf("%s is %s and has %d versions", kind, crd.Spec.Scope, len(crd.Spec.Versions))
		}
		walk("", *crd.Spec.Versions[0].Schema.OpenAPIV3Schema, func(path string, s schema) {
			if s.Default != nil {
				t.Errorf("%s%s has a default", kind, path)
			}
			if s.XPreserveUnknownFields != nil {
				t.Errorf("%s%s keeps unknown fields", kind, path)
			}
			// An element without a type of its own is described with its list or map.
			if s.Description == "" && !strings.HasSuffix(path, "[]") {
				t.Errorf("%s%s has no description", kind, path)
			}
		})
	}
}

// walk visits a schema and all below it, but for metadata, which is Kubernetes'. The elements of a list or map
// are "[]".
func walk(path string, s schema, visit func(string, schema)) {
	visit(path, s)
	for name, p := range s.Properties {
		if path != "" || name != "metadata" {
			walk(path+"."+name, p, visit)
		}
	}
	if s.Items != nil && s.Items.Schema != nil {
		walk(path+"[]", *s.Items.Schema, visit)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		walk(path+"[]", *s.AdditionalProperties.Schema, visit)
	}
}

// Every rule of the schema refuses something in the tables: a rule without a row is a rule that nobody tried.
func TestEveryRuleHasARow(t *testing.T) {
	rows := map[string][]row{
		"KeycardResource":        slices.Concat(resourceRows(), updateRows["KeycardResource"].rows, resourceStatusRows()),
		"ConfluenceTokenBinding": slices.Concat(bindingRows(), updateRows["ConfluenceTokenBinding"].rows, bindingStatusRows()),
	}
	for kind, crd := range crds(t) {
		var said strings.Builder
		for _, r := range rows[kind] {
			said.WriteString(r.want + "\n")
		}
		rules := 0
		walk("", *crd.Spec.Versions[0].Schema.OpenAPIV3Schema, func(path string, s schema) {
			if strings.HasPrefix(path, ".status.conditions[]") {
				return // Kubernetes' own
			}
			for _, want := range complaints(strings.TrimPrefix(path, "."), s) {
				rules++
				if !regexp.MustCompile(`(?m)^` + want).MatchString(said.String()) {
					t.Errorf("%s: no row is refused with %s", kind, want)
				}
			}
		})
		if rules < 50 {
			t.Errorf("%s: found only %d rules", kind, rules)
		}
	}
}

// complaints are what the apiserver says when a rule of this schema is broken, one regular expression each.
func complaints(path string, s schema) []string {
	field := strings.ReplaceAll(regexp.QuoteMeta(path), `\[\]`, `(\[\w+\]|\.\w+)`)
	var out []string
	add := func(format string, a ...any) { out = append(out, field+": "+fmt.Sprintf(format, a...)) }
	for _, name := range s.Required {
		out = append(out, strings.TrimPrefix(field+`\.`+name, `\.`)+": Required value")
	}
	if s.MaxLength != nil {
		add("Too long: may not be more than %d bytes", *s.MaxLength)
	}
	if s.MinLength != nil {
		add(`Invalid value: "": .* should be at least %d chars long`, *s.MinLength)
	}
	for _, limit := range []*int64{s.MaxItems, s.MaxProperties} {
		if limit != nil {
			add(`Too many: \d+: must have at most %d items`, *limit)
		}
	}
	if s.MinItems != nil {
		add(`Invalid value: 0: .* should have at least %d items`, *s.MinItems)
	}
	if s.MinProperties != nil {
		add(`Invalid value: 0: .* should have at least %d properties`, *s.MinProperties)
	}
	if s.Minimum != nil {
		add(`Invalid value: -1: .* should be greater than or equal to %v`, *s.Minimum)
	}
	if len(s.Enum) > 0 {
		add("Unsupported value: ")
	}
	if t := s.XListType; t != nil && *t != "atomic" {
		out = append(out, field+`\[\d+\]: Duplicate value: `)
	}
	for _, rule := range s.XValidations {
		message := regexp.QuoteMeta(rule.Message)
		if rule.MessageExpression != "" {
			message = strings.Replace(message, "a scope", `\S+`, 1)
		}
		add("Invalid value: (\".*\": )?%s", message)
	}
	return out
}
