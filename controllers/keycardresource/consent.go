// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/namespaces"
	"github.com/keycardai/keycard-operator/internal/problem"
)

const (
	consentObject = "application " + consentOf
	consentOf     = "for consent"
	// consentName is what the zone shows to people while they sign in.
	consentName = "Consent for workloads in Kubernetes"
	// consentRequired makes the zone ask the person, who would otherwise agree by following a link.
	consentRequired = "required"
)

// consentIdentifier is that of the public application that people sign in to when they consent. All installs of the
// cluster in a zone share it; each looks after its own dependency.
func (s *scope) consentIdentifier() string {
	return fmt.Sprintf("urn:kubernetes:%s:keycard-operator:consent", s.clusterID)
}

func (s *scope) consentMarker() string {
	return fmt.Sprintf("[keycard-operator %s consent]", s.clusterID)
}

// ensureConsent registers the application once a binding acts for a person; then it stays, so that bindings that come
// and go change nothing in the zone.
func (r *Reconciler) ensureConsent(ctx context.Context, s *scope) error {
	if len(r.ConsentRedirectURIs) == 0 {
		return s.endConsent(ctx)
	}
	if asks, err := r.asksPeople(ctx, s); err != nil || !asks {
		return err
	}
	app, found, err := s.zone.FindApplication(ctx, s.zoneID(), s.consentIdentifier())
	if err != nil {
		return problem.Remote(err)
	}
	if s.observing() {
		return s.observeConsent(ctx, app, found)
	}
	return r.manageConsent(ctx, s, app, found)
}

// manageConsent makes the application as it has to be. found tells whether the zone has it already.
func (r *Reconciler) manageConsent(ctx context.Context, s *scope, app keycard.Application, found bool) (err error) {
	if !found {
		if app, err = r.createConsent(ctx, s); err != nil {
			return err
		}
	}
	if !strings.Contains(app.Description, s.consentMarker()) {
		return problem.NeedsPerson(v1alpha1.ReasonApplicationConflict,
			"the zone has an application %q with the identifier %s that was not made by the operator; remove it, or put the operator's marker %s into its description",
			app.Name, app.Identifier, s.consentMarker())
	}
	if err := s.putConsentRight(ctx, app, r.ConsentRedirectURIs); err != nil {
		return err
	}
	// What this install has not had yet is no drift.
	fresh := !found || s.found.ConsentClientID == ""
	clientID, err := s.ensureConsentClient(ctx, app, fresh)
	if err != nil {
		return err
	}
	if err := s.link(ctx, app.ID, consentOf, fresh); err != nil {
		return err
	}
	s.resource.Status.ConsentClientID = clientID
	return nil
}

// asksPeople tells whether an admitted binding of the install needs somebody's consent, or one did once.
func (r *Reconciler) asksPeople(ctx context.Context, s *scope) (bool, error) {
	if s.resource.Status.ConsentClientID != "" {
		return true, nil
	}
	users, err := r.bindingsOf(ctx, s)
	if err != nil {
		return false, err
	}
	for i := range users {
		if users[i].Spec.Subject.User == "" {
			continue
		}
		admitted, err := namespaces.Admits(ctx, r.namespaces(), s.resource, users[i].Namespace)
		if err != nil || admitted {
			return admitted, err
		}
	}
	return false, nil
}

// observeConsent finds out whether somebody else has registered the application. Nobody is told to: the spec does not
// ask for it.
func (s *scope) observeConsent(ctx context.Context, app keycard.Application, found bool) error {
	s.resource.Status.ConsentClientID = ""
	if !found {
		return nil
	}
	clientID, err := s.consentClient(ctx, app)
	s.resource.Status.ConsentClientID = clientID
	return err
}

func (r *Reconciler) createConsent(ctx context.Context, s *scope) (keycard.Application, error) {
	log.FromContext(ctx).Info("registering the application for consent", "identifier", s.consentIdentifier())
	app, err := s.zone.CreateApplication(ctx, s.zoneID(), keycard.ApplicationCreate{
		Identifier: s.consentIdentifier(), Name: consentName, Consent: consentRequired,
		Description: "Registered by the Keycard operator: people sign in to it when they let a workload act for them. Changes are put right. " + s.consentMarker(),
		Protocols:   consentProtocols(r.ConsentRedirectURIs),
	})
	if err != nil {
		return keycard.Application{}, createProblem(err, "application")
	}
	s.created(stepApplications, consentObject, s.found.ConsentClientID)
	return app, nil
}

func consentProtocols(redirectURIs []string) keycard.ApplicationProtocols {
	return keycard.ApplicationProtocols{OAuth2: keycard.ApplicationOAuth2{RedirectURIs: redirectURIs}}
}

// putConsentRight undoes changes that let codes go elsewhere, or that skip the question.
func (s *scope) putConsentRight(ctx context.Context, have keycard.Application, redirectURIs []string) error {
	var (
		p keycard.ApplicationPatch
		d differences
	)
	d.text("name", &p.Name, have.Name, consentName)
	d.text("consent", &p.Consent, have.Consent, consentRequired)
	if !sameSet(have.Protocols.OAuth2.RedirectURIs, redirectURIs) {
		p.Protocols = keycard.Set(consentProtocols(redirectURIs))
		d = append(d, "redirectURIs")
	}
	if p.IsZero() {
		return nil
	}
	return s.change(stepApplications, consentObject, d, func() error {
		_, err := s.zone.PatchApplication(ctx, s.zoneID(), have.ID, p)
		return err
	})
}

// consentClient gives the application's client id; empty when it has none. The one that is known stays, as long as the
// zone has it.
func (s *scope) consentClient(ctx context.Context, app keycard.Application) (string, error) {
	have, err := s.zone.ListApplicationCredentials(ctx, s.zoneID(), app.ID)
	if err != nil {
		return "", problem.Remote(err)
	}
	var ids []string
	for _, c := range have {
		if c.Type == keycard.CredentialPublic {
			ids = append(ids, c.Identifier)
		}
	}
	switch known := s.found.ConsentClientID; {
	case len(ids) == 0:
		return "", nil
	case slices.Contains(ids, known):
		return known, nil
	}
	return slices.Min(ids), nil
}

// ensureConsentClient makes sure that the application has a client id. The zone chooses it.
func (s *scope) ensureConsentClient(ctx context.Context, app keycard.Application, fresh bool) (string, error) {
	clientID, err := s.consentClient(ctx, app)
	if err != nil || clientID != "" {
		return clientID, err
	}
	err = s.change(stepApplications, consentObject, missing("credential", fresh), func() error {
		made, err := s.zone.CreateApplicationCredential(ctx, s.zoneID(), keycard.ApplicationCredentialCreate{
			ApplicationID: app.ID, Type: keycard.CredentialPublic,
		})
		clientID = made.Identifier
		return createProblem(err, "credential")
	})
	return clientID, err
}

// endConsent takes the application back when the operator was told to register none any more.
func (s *scope) endConsent(ctx context.Context) error {
	if s.resource.Status.ConsentClientID == "" || s.observing() {
		return nil
	}
	if err := s.removeConsent(ctx, s.resource.Status.ResourceID); err != nil {
		return problem.Remote(err)
	}
	s.resource.Status.ConsentClientID = ""
	return nil
}

// removeConsent takes the dependency from the application, and removes it when no other install uses it.
func (s *scope) removeConsent(ctx context.Context, resourceID string) error {
	app, found, err := s.zone.FindApplication(ctx, s.zoneID(), s.consentIdentifier())
	if err != nil || !found || !strings.Contains(app.Description, s.consentMarker()) {
		return err
	}
	_, err = s.release(ctx, app, resourceID)
	return err
}
