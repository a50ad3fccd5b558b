// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package consent

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// NewRequest is what a binding of an install asks a person for. resource is the install's resource identifier,
// authorizationEndpoint the zone's. It is ErrUnknown when the binding acts for nobody, and ErrNotYet while the install
// has no application that she could sign in to.
func NewRequest(b *v1alpha1.ConfluenceTokenBinding, install *v1alpha1.KeycardResource, resource, authorizationEndpoint string) (Request, error) {
	switch {
	case b.Spec.Subject.User == "":
		return Request{}, ErrUnknown
	case install.Status.ConsentClientID == "":
		return Request{}, ErrNotYet
	}
	scopes, used := sorted(install.Status.Scopes), sorted(b.Spec.Scopes)
	if slices.Equal(used, scopes) {
		used = nil
	}
	return Request{
		Namespace: b.Namespace, Name: b.Name,
		Application: cmp.Or(b.Spec.Application.ServiceAccountName, b.Name), User: b.Spec.Subject.User,
		ResourceName: "Confluence", Resource: resource, Scopes: scopes, Used: used,
		AuthorizationEndpoint: authorizationEndpoint, ClientID: install.Status.ConsentClientID,
	}, nil
}

func sorted(scopes []v1alpha1.Scope) []string {
	return slices.Sorted(slices.Values(v1alpha1.ScopeNames(scopes)))
}

// Command is what to run where there is no page.
func Command(namespace, name string) string {
	return fmt.Sprintf("kubectl keycard consent %s -n %s", name, namespace)
}
