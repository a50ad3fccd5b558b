// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// The cluster's discovery document says which issuer stands in the tokens of its ServiceAccounts. Every ServiceAccount
// may read it where the default bindings are in place.
// +kubebuilder:rbac:urls=/.well-known/openid-configuration,verbs=get

// clusterIssuer asks the cluster for the issuer of its ServiceAccounts' tokens (OpenID Connect Discovery 1.0).
type clusterIssuer struct{ client rest.Interface }

func newClusterIssuer(config *rest.Config, transport *http.Client) (*clusterIssuer, error) {
	c := rest.CopyConfig(config)
	c.GroupVersion = &schema.GroupVersion{}
	c.NegotiatedSerializer = clientgoscheme.Codecs.WithoutConversion()
	client, err := rest.UnversionedRESTClientForConfigAndClient(c, transport)
	if err != nil {
		return nil, fmt.Errorf("making a client for the cluster's discovery document: %w", err)
	}
	return &clusterIssuer{client: client}, nil
}

// Discover reads the issuer.
func (c *clusterIssuer) Discover(ctx context.Context) (string, error) {
	raw, err := c.client.Get().AbsPath("/.well-known/openid-configuration").DoRaw(ctx)
	if err != nil {
		return "", err
	}
	var document struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal(raw, &document); err != nil || document.Issuer == "" {
		return "", errors.New("the discovery document names no issuer")
	}
	return document.Issuer, nil
}
