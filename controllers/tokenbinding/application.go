// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/credentials"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/redacted"
)

// RBAC can't say for which ServiceAccounts tokens may be requested without naming each: the code does, and requests
// them only for what a binding names in its own namespace.
// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=serviceaccounts/token,verbs=create

// assertionLifetime is how long the token of a ServiceAccount lives, in seconds. It is used once, at once; it lives twice the
// least that the API server issues, so that a zone whose clock is ten minutes ahead does not take it for expired.
const assertionLifetime = 1200

// assertionTimeout bounds a TokenRequest, which is made at one's turn at the zone: an API server that hangs must not hold
// the others up.
const assertionTimeout = 10 * time.Second

// clientAuth is how the binding's application authenticates at the zone.
func (r *Reconciler) clientAuth(ctx context.Context, s *scope) (keycard.ClientAuth, error) {
	if name := s.binding.Spec.Application.ServiceAccountName; name != "" {
		assertion, err := r.assertion(ctx, s, name)
		return keycard.JWTBearerAssertion{Assertion: assertion}, err
	}
	app, err := r.credential(ctx, s)
	if err != nil {
		return nil, err
	}
	return keycard.ClientSecretBasic{ClientID: app.ID, ClientSecret: app.Secret}, nil
}

// credential reads the client id and secret of the binding's application, once in a reconcile.
func (r *Reconciler) credential(ctx context.Context, s *scope) (credentials.Client, error) {
	if !s.clientRead.Secret.IsZero() {
		return s.clientRead, nil
	}
	name := s.binding.Spec.Application.ClientSecretRef.Name
	app, err := credentials.ReadClient(ctx, r.Live, s.local(name), "the Keycard application's credential")
	if err != nil {
		return app, err
	}
	s.clientRead, s.values.client = app, s.fingerprint(app.ID+"\n"+app.Secret.Reveal())
	return app, nil
}

// assertion requests a token for a ServiceAccount in the binding's own namespace. Its audience is the zone, which the
// user has no say in: a token for another audience could be used there.
func (r *Reconciler) assertion(ctx context.Context, s *scope, name string) (redacted.String, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: s.binding.Namespace, Name: name}}
	seconds := int64(assertionLifetime)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{s.issuer}, ExpirationSeconds: &seconds,
	}}
	ctx, cancel := context.WithTimeout(ctx, assertionTimeout)
	defer cancel()
	if err := r.Client.SubResource("token").Create(ctx, account, request); err != nil {
		return redacted.String{}, assertionProblem(client.ObjectKeyFromObject(account).String(), err)
	}
	if request.Status.Token == "" {
		return redacted.String{}, problem.Passing(v1alpha1.ReasonClusterError,
			"the cluster answered without a token for ServiceAccount %s/%s; it is retried", s.binding.Namespace, name)
	}
	return redacted.New(request.Status.Token), nil
}

// assertionProblem says what a refused TokenRequest means. An error that passes by itself stays as it is.
func assertionProblem(account string, err error) error {
	switch {
	case apierrors.IsNotFound(err):
		return problem.Waiting(v1alpha1.ReasonServiceAccountNotFound,
			"ServiceAccount %s does not exist; create it, or change spec.application.serviceAccountName", account)
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return problem.Waiting(v1alpha1.ReasonTokenRequestRefused, "no token can be requested for ServiceAccount %s: the namespace is being deleted", account)
	case apierrors.IsForbidden(err):
		return problem.NeedsPerson(v1alpha1.ReasonTokenRequestRefused,
			"the cluster does not let the operator request a token for ServiceAccount %s; its role needs create on serviceaccounts/token in this namespace (config/rbac has it), and %s",
			account, problem.Refusal(err))
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return problem.NeedsPerson(v1alpha1.ReasonTokenRequestRefused,
			"the cluster refuses the request of a token for ServiceAccount %s (%s); %s", account, apierrors.ReasonForError(err), problem.Refusal(err))
	}
	return fmt.Errorf("requesting a token for ServiceAccount %s: %w", account, err)
}

// registrationAttempts is how often a workload that the zone does not know is tried again soon: the KeycardResource
// registers it at the same time.
const registrationAttempts = 6

// awaitRegistration makes a refusal of a workload pass that is being registered, and says of another what workloads need.
// Other errors of the zone become what they are for any application.
func (s *scope) awaitRegistration(err error) error {
	p, ok := problem.FromKeycard(err)
	account := s.binding.Spec.Application.ServiceAccountName
	if !ok || p.Reason != v1alpha1.ReasonClientRejected || account == "" {
		return problem.Remote(err)
	}
	remote, _ := keycard.AsError(err)
	if s.install.Spec.WorkloadRegistration == nil || s.attempt.failures >= registrationAttempts {
		return problem.NeedsPerson(p.Reason, "%s; check that the zone knows ServiceAccount %s (workloadRegistration of the KeycardResource), that it can read the cluster's keys, and that the clocks of both agree",
			remote, account)
	}
	return problem.Passing(p.Reason, "the zone does not accept ServiceAccount %s yet; the KeycardResource registers it. The zone's answer: %s", account, remote)
}
