// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// The markers by which the operator knows its own objects in the zone stand in their descriptions. They survive a lost
// status, and an object that is deleted and applied again, because they depend on names only.

// marker marks what belongs to this KeycardResource.
func (s *scope) marker() string { return marker(s.clusterID, s.resource.Namespace, s.resource.Name) }

func marker(clusterID, namespace, name string) string {
	return fmt.Sprintf("[keycard-operator %s/%s/%s]", clusterID, namespace, name)
}

// clusterMarker marks what belongs to the whole cluster.
func (s *scope) clusterMarker() string {
	return fmt.Sprintf("[keycard-operator %s cluster]", s.clusterID)
}

// workloadMarker marks what belongs to the ServiceAccounts of this cluster.
func (s *scope) workloadMarker() string {
	return fmt.Sprintf("[keycard-operator %s workload]", s.clusterID)
}

// description is what people read in the console; it ends with the marker.
func (s *scope) description() string {
	return fmt.Sprintf("Managed by the Keycard operator for KeycardResource %s/%s; changes are put right. %s",
		s.resource.Namespace, s.resource.Name, s.marker())
}

func (s *scope) owns(description string) bool { return strings.Contains(description, s.marker()) }

var markerPattern = regexp.MustCompile(`\[keycard-operator ([^/\] ]+)/([^/\] ]+)/([^/\] ]+)\]`)

// madeBy gives the KeycardResource of this cluster whose marker a description holds.
func (s *scope) madeBy(description string) (client.ObjectKey, bool) {
	m := markerPattern.FindStringSubmatch(description)
	if len(m) == 0 || m[1] != s.clusterID {
		return client.ObjectKey{}, false
	}
	return client.ObjectKey{Namespace: m[2], Name: m[3]}, true
}

// inherits tells whether an object was made by a KeycardResource of this cluster that is gone. What can't be seen is
// taken to be there.
func (r *Reconciler) inherits(ctx context.Context, s *scope, description string) bool {
	maker, ours := s.madeBy(description)
	if !ours || maker == s.key() {
		return false
	}
	var there v1alpha1.KeycardResource
	err := r.Client.Get(ctx, maker, &there)
	return apierrors.IsNotFound(err) || err == nil && there.Spec.Zone.ID != s.zoneID()
}
