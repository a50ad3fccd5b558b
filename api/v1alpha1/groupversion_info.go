// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 is the API of the Keycard operator: KeycardResource (the install of an upstream
// API in a Keycard zone) and ConfluenceTokenBinding (a Confluence token kept fresh in a Secret).
// +kubebuilder:object:generate=true
// +groupName=keycard.cloud
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API group and version of every kind in this package.
var GroupVersion = schema.GroupVersion{Group: "keycard.cloud", Version: "v1alpha1"}

// SchemeBuilder registers the kinds of this package with a runtime.Scheme.
var SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

// AddToScheme adds the kinds of this package to a scheme.
var AddToScheme = SchemeBuilder.AddToScheme

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&KeycardResource{}, &KeycardResourceList{},
		&ConfluenceTokenBinding{}, &ConfluenceTokenBindingList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
