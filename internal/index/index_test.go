// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package index_test

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/index"
)

// Users are the bindings that name the install, from any namespace, but for those that are being deleted.
func TestUsers(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	binding := func(namespace, name, ofNamespace, of string) *v1alpha1.ConfluenceTokenBinding {
		b := &v1alpha1.ConfluenceTokenBinding{}
		b.Namespace, b.Name = namespace, name
		b.Spec.ResourceRef = v1alpha1.KeycardResourceReference{Namespace: ofNamespace, Name: of}
		return b
	}
	ending := binding("platform", "ending", "", "confluence")
	ending.Finalizers = []string{"example.com/hold"}
	c := fake.NewClientBuilder().WithScheme(scheme).
		WithIndex(&v1alpha1.ConfluenceTokenBinding{}, index.Install, index.InstallOf).
		WithObjects(
			binding("platform", "here", "", "confluence"), binding("reports", "there", "platform", "confluence"),
			binding("reports", "its-own", "", "confluence"), binding("platform", "another", "", "jira"), ending,
		).Build()
	if err := c.Delete(t.Context(), ending); err != nil {
		t.Fatal(err)
	}
	users, err := index.Users(t.Context(), c, client.ObjectKey{Namespace: "platform", Name: "confluence"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range users {
		names = append(names, users[i].Namespace+"/"+users[i].Name)
	}
	slices.Sort(names)
	if want := []string{"platform/here", "reports/there"}; !slices.Equal(names, want) {
		t.Errorf("users are %v, want %v", names, want)
	}
}
