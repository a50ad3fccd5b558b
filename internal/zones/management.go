// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package zones

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/credentials"
	"github.com/keycardai/keycard-operator/internal/keycard"
)

// Management gives the client of a zone's management API, and the service account as which it calls: both are what an install
// in namespace says. The credential is read from the server each time. The error is an *problem.Problem, or one of the cluster.
func Management(ctx context.Context, live client.Reader, pool *keycard.Pool, namespace string, zone *v1alpha1.ZoneReference) (*keycard.ManagementClient, credentials.Client, error) {
	account, err := credentials.ReadClient(ctx, live, types.NamespacedName{Namespace: namespace, Name: zone.ServiceAccountSecretRef.Name}, "the credential of a Keycard service account")
	if err != nil {
		return nil, account, err
	}
	if pool, err = Pool(ctx, live, pool, namespace, zone.CABundle); err != nil {
		return nil, account, err
	}
	management, err := pool.Management(keycard.ManagementConfig{BaseURL: zone.ManagementURL(), ClientID: account.ID, ClientSecret: account.Secret})
	return management, account, err
}
