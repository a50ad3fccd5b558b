// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"context"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/redacted"
)

// assertionLifetime is how long the token of a ServiceAccount lives, in seconds. It is used once,
// at once; it lives twice the least that the API server issues, so that a zone whose clock is ten
// minutes ahead does not take it for expired.
const assertionLifetime = 1200

// assertionTimeout bounds a TokenRequest, which is made at one's turn at the zone: an API server
// that hangs must not hold the others up.
const assertionTimeout = 10 * time.Second

// clientAuth is how the binding's application authenticates at the zone.
func (i *Inputs) clientAuth(ctx context.Context, issuer string) (keycard.ClientAuth, error) {
	if name := i.binding.Spec.Application.ServiceAccountName; name != "" {
		assertion, err := serviceAccount(i.local(name)).token(ctx, i.deps.Client, issuer)
		return keycard.JWTBearerAssertion{Assertion: assertion}, err
	}
	app, err := i.clientSecret(ctx)
	if err != nil {
		return nil, err
	}
	return keycard.ClientSecretBasic{ClientID: app.ID, ClientSecret: app.Secret}, nil
}

// serviceAccount is one in the binding's own namespace.
type serviceAccount types.NamespacedName

// token requests a token. Its audience is the zone, which the user has no say in: a token for
// another audience could be used there.
func (a serviceAccount) token(ctx context.Context, c client.Client, issuer string) (redacted.String, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: a.Name}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{issuer}, ExpirationSeconds: new(int64(assertionLifetime)),
	}}
	ctx, cancel := context.WithTimeout(ctx, assertionTimeout)
	defer cancel()
	if err := c.SubResource("token").Create(ctx, account, request); err != nil {
		return redacted.String{}, problem.ServiceAccountTokenFailed(client.ObjectKeyFromObject(account).String(), err)
	}
	if request.Status.Token == "" {
		return redacted.String{}, problem.ServiceAccountTokenFailed(client.ObjectKeyFromObject(account).String(), nil)
	}
	return redacted.New(request.Status.Token), nil
}
