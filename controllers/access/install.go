// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package access gives applications access to the resource of an install, within the policies that
// the install puts in force. Its steps are called by the controller of installs, in its order:
// policies are in force before anyone gets access, and go when no one has it any more.
package access

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/remote"
)

// Install is what one reconcile knows of an install.
type Install struct {
	// Object is a copy whose status the steps fill, and Found its status when the reconcile began.
	Object *v1alpha1.KeycardResource
	Found  v1alpha1.KeycardResourceStatus
	Zone   *remote.Zone
	Now    time.Time
	// ClusterID tells this cluster's objects in a zone from those of another cluster.
	ClusterID string
	// Save writes the status, before something is done that a crash must not make forgotten.
	Save func(context.Context) error
}

// Key is the name of the install.
func (in *Install) Key() client.ObjectKey { return client.ObjectKeyFromObject(in.Object) }

// Marker marks what belongs to the install.
func (in *Install) Marker() remote.Marker {
	return remote.InstallMarker(in.ClusterID, in.Object.Namespace, in.Object.Name)
}

// Description is what people read in the zone's console; it ends with the marker.
func (in *Install) Description() string {
	return fmt.Sprintf("Managed by the Keycard operator for KeycardResource %s; changes are put right. %s", in.Key(), in.Marker())
}
