// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"fmt"
	"slices"

	"github.com/keycardai/keycard-operator/internal/index"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/namespaces"
	"github.com/keycardai/keycard-operator/internal/remote"
)

const (
	consentOf = "for consent"
	// consentName is what the zone shows to people while they sign in.
	consentName = "Consent for workloads in Kubernetes"
	// consentRequired makes the zone ask the person, who would otherwise agree by following a link.
	consentRequired = "required"
)

func (in *Install) consentIdentifier() string {
	return fmt.Sprintf("urn:kubernetes:%s:keycard-operator:consent", in.ClusterID)
}

func (in *Install) consentMarker() remote.Marker {
	return remote.ClusterMarker(in.ClusterID, "consent")
}

// ensureConsent registers the public application that people sign in to when they consent, once a
// binding acts for a person; then it stays, so that bindings that come and go change nothing in the
// zone. All installs of the cluster in a zone share it; each looks after its own dependency.
func (a *Applications) ensureConsent(ctx context.Context, in *Install) error {
	if len(a.deps.ConsentRedirectURIs) == 0 {
		return endConsent(ctx, in)
	}
	if asked, err := a.asked(ctx, in); err != nil || !asked {
		return err
	}
	if in.Zone.Observing {
		return observeConsent(ctx, in)
	}
	app, standing, err := remote.Ensure(ctx, in.Zone, remote.Applications, remote.Application{
		Step: stepApplications, Object: "application " + consentOf,
		Identifier: in.consentIdentifier(), Marker: in.consentMarker(), Known: in.Found.ConsentClientID,
		Body: keycard.ApplicationCreate{
			Identifier: in.consentIdentifier(), Name: consentName, Consent: consentRequired, Protocols: a.consentProtocols(),
			Description: "Registered by the Keycard operator: people sign in to it when they let a workload act for them. Changes are put right. " + string(in.consentMarker()),
		},
		Claim:   refuse(in.consentMarker()),
		Differs: a.consentDiffers,
	})
	if err != nil {
		return err
	}
	// What this install has not had yet is no drift.
	fresh := standing == remote.Created || in.Found.ConsentClientID == ""
	clientID, err := ensureClient(ctx, in, app, fresh)
	if err != nil {
		return err
	}
	if err := link(ctx, in, app.ID, consentOf, fresh); err != nil {
		return err
	}
	in.Object.Status.ConsentClientID = clientID
	return nil
}

// asked reports whether an admitted binding needs someone's consent, or one did once.
func (a *Applications) asked(ctx context.Context, in *Install) (bool, error) {
	if in.Object.Status.ConsentClientID != "" {
		return true, nil
	}
	users, err := index.Users(ctx, a.deps.Cached, in.Key())
	if err != nil {
		return false, err
	}
	for i := range users {
		if users[i].Spec.Subject.User == "" {
			continue
		}
		admitted, err := namespaces.Admits(ctx, a.deps.Namespaces, in.Object, users[i].Namespace)
		if err != nil || admitted {
			return admitted, err
		}
	}
	return false, nil
}

func (a *Applications) consentProtocols() keycard.ApplicationProtocols {
	return keycard.ApplicationProtocols{OAuth2: keycard.ApplicationOAuth2{RedirectURIs: a.deps.ConsentRedirectURIs}}
}

// consentDiffers finds changes that let codes go elsewhere, or that skip the question.
func (a *Applications) consentDiffers(have keycard.Application) (keycard.ApplicationPatch, []string) {
	var (
		p keycard.ApplicationPatch
		d remote.Differences
	)
	d.Text("name", &p.Name, have.Name, consentName)
	d.Text("consent", &p.Consent, have.Consent, consentRequired)
	remote.Value(&d, "redirectURIs", &p.Protocols, a.consentProtocols(),
		remote.SameSet(have.Protocols.OAuth2.RedirectURIs, a.deps.ConsentRedirectURIs))
	return p, d
}

// observeConsent finds out whether someone has registered the application. The spec asks no one to.
func observeConsent(ctx context.Context, in *Install) error {
	in.Object.Status.ConsentClientID = ""
	app, standing, err := remote.Find(ctx, in.Zone, remote.Applications, in.consentIdentifier(), in.consentMarker())
	if err == nil && standing != remote.Absent {
		in.Object.Status.ConsentClientID, err = findClient(ctx, in, app)
	}
	return err
}

// findClient gives the application's client id, the known one if it is there; empty without any.
func findClient(ctx context.Context, in *Install, app keycard.Application) (string, error) {
	have, err := in.Zone.ListApplicationCredentials(ctx, in.Zone.ID, app.ID)
	if err != nil {
		return "", err
	}
	var ids []string
	for _, c := range have {
		if c.Type == keycard.CredentialPublic {
			ids = append(ids, c.Identifier)
		}
	}
	switch known := in.Found.ConsentClientID; {
	case len(ids) == 0:
		return "", nil
	case slices.Contains(ids, known):
		return known, nil
	}
	return slices.Min(ids), nil
}

// ensureClient makes sure that the application has a client id. The zone chooses it.
func ensureClient(ctx context.Context, in *Install, app keycard.Application, fresh bool) (string, error) {
	clientID, err := findClient(ctx, in, app)
	if err != nil || clientID != "" {
		return clientID, err
	}
	made, err := addCredential(ctx, in, keycard.ApplicationCredentialCreate{ApplicationID: app.ID, Type: keycard.CredentialPublic}, consentOf, fresh)
	return made.Identifier, err
}

// endConsent takes the application back when the operator was told to register none any more.
func endConsent(ctx context.Context, in *Install) error {
	if in.Object.Status.ConsentClientID == "" || in.Zone.Observing {
		return nil
	}
	if err := removeConsent(ctx, in, in.Object.Status.ResourceID); err != nil {
		return err
	}
	in.Object.Status.ConsentClientID = ""
	return nil
}

// removeConsent takes the dependency from the application, which goes with the last.
func removeConsent(ctx context.Context, in *Install, resourceID string) error {
	app, standing, err := remote.Find(ctx, in.Zone, remote.Applications, in.consentIdentifier(), in.consentMarker())
	if err == nil && standing == remote.Managed {
		_, err = release(ctx, in, app, in.consentMarker(), resourceID)
	}
	return err
}
