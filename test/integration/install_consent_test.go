// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
)

const consentIdentifier = "urn:kubernetes:" + clusterID + ":keycard-operator:consent"

var consentRedirectURIs = []string{"http://127.0.0.1/-/callback", "https://consent.example/-/callback"}

// consentApplication is the application that people sign in to, with its credentials.
func (w *world) consentApplication() (keycard.Application, []keycard.ApplicationCredential, bool) {
	w.t.Helper()
	app, found, err := w.admin().FindApplication(w.ctx, w.zone.ZoneID, consentIdentifier)
	must(w.t, err)
	if !found {
		return app, nil, false
	}
	credentials, err := w.admin().ListApplicationCredentials(w.ctx, w.zone.ZoneID, app.ID)
	must(w.t, err)
	return app, credentials, true
}

// consents makes an install that registers the application for consent, because a binding acts for a person.
func (w *world) consents(change ...func(*v1alpha1.KeycardResourceSpec)) *v1alpha1.KeycardResource {
	w.t.Helper()
	w.resources.ConsentRedirectURIs = consentRedirectURIs
	resource := w.install()
	for _, c := range change {
		c(&resource.Spec)
	}
	must(w.t, w.k8s.Create(w.ctx, resource))
	w.reconcileResource(resource)
	w.expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if _, _, found := w.consentApplication(); found || resource.Status.ConsentClientID != "" {
		w.t.Fatalf("registered before anybody asked, with the client id %q", resource.Status.ConsentClientID)
	}
	must(w.t, w.k8s.Create(w.ctx, w.binding("reports")))
	w.reconcileResource(resource)
	w.expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.absent(resource, v1alpha1.ConditionApplicationsRegistered)
	return resource
}

// checkConsent checks that the application is as it has to be, and that the next look writes nothing.
func (w *world) checkConsent(resource *v1alpha1.KeycardResource) keycard.Application {
	w.t.Helper()
	app, credentials, found := w.consentApplication()
	if !found || app.Consent != "required" || !slices.Equal(app.Protocols.OAuth2.RedirectURIs, consentRedirectURIs) || !w.depends(app.ID, resource) {
		w.t.Fatalf("the application is there: %v, %+v", found, app)
	}
	if len(credentials) != 1 || credentials[0].Type != keycard.CredentialPublic || credentials[0].Identifier != resource.Status.ConsentClientID {
		w.t.Errorf("it has the credentials %+v, status has the client id %q", credentials, resource.Status.ConsentClientID)
	}
	w.events.take()
	w.requests.take()
	w.writes.take()
	w.reconcileResource(resource)
	if r := remoteWrites(w.requests.take()); len(r) > 0 {
		w.t.Errorf("wrote again: %v", r)
	}
	if r, e := w.writes.take(), w.events.take(); len(r)+len(e) > 0 {
		w.t.Errorf("wrote to the cluster: %v, and recorded %v", r, e)
	}
	return app
}

// The application for consent is registered once a binding acts for a person. What is changed about it or deleted is put
// right.
func TestConsentApplication(t *testing.T) {
	w := newWorld(t)
	w.resources.ConsentRedirectURIs = consentRedirectURIs
	resource := w.consents()
	if e := w.events.take(); slices.ContainsFunc(e, func(e string) bool { return strings.Contains(e, v1alpha1.EventDriftCorrected) }) {
		t.Errorf("its registration is announced as drift: %v", e)
	}
	app := w.checkConsent(resource)
	for name, step := range map[string]struct {
		change func(*keycard.ManagementClient, keycard.Application) error
		says   string
	}{
		"a foreign redirect URI": {func(admin *keycard.ManagementClient, app keycard.Application) error {
			_, err := admin.PatchApplication(w.ctx, w.zone.ZoneID, app.ID, keycard.ApplicationPatch{
				Name: keycard.Set("x"), Consent: keycard.Set("implicit"),
				Protocols: keycard.Set(keycard.ApplicationProtocols{OAuth2: keycard.ApplicationOAuth2{RedirectURIs: []string{"https://evil.example/"}}}),
			})
			return err
		}, "application for consent: name, consent, redirectURIs"},
		"its credential is deleted": {func(admin *keycard.ManagementClient, _ keycard.Application) error {
			_, credentials, _ := w.consentApplication()
			return admin.DeleteApplicationCredential(w.ctx, w.zone.ZoneID, credentials[0].ID)
		}, "application for consent: credential"},
		"its dependency is deleted": {func(admin *keycard.ManagementClient, app keycard.Application) error {
			return admin.DeleteDependency(w.ctx, w.zone.ZoneID, app.ID, resource.Status.ResourceID)
		}, "application for consent: dependency"},
		"it is deleted": {func(admin *keycard.ManagementClient, app keycard.Application) error {
			return admin.DeleteApplication(w.ctx, w.zone.ZoneID, app.ID)
		}, "application for consent: deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			app, _, _ = w.consentApplication()
			must(t, step.change(w.admin(), app))
			w.reconcileResource(resource)
			w.expectEvent("Warning", v1alpha1.EventDriftCorrected, step.says)
			w.checkConsent(resource)
		})
	}
}

// A crash before the status is written leaves one application, with one credential.
func TestConsentApplicationAfterACrash(t *testing.T) {
	w := newWorld(t)
	resource := w.consents()
	before := resource.Status.ConsentClientID
	resource.Status.ConsentClientID = ""
	must(t, w.k8s.Status().Update(w.ctx, resource))
	w.connect()
	w.resources.ConsentRedirectURIs = consentRedirectURIs
	w.reconcileResource(resource)
	w.checkConsent(resource)
	if resource.Status.ConsentClientID != before {
		t.Errorf("the client id is %q, it was %q", resource.Status.ConsentClientID, before)
	}
}

// The application goes with the last install that uses it, where the objects in the zone go, and when the operator is
// told to register none.
func TestConsentApplicationIsRemoved(t *testing.T) {
	removed := func(w *world) {
		t.Helper()
		if app, _, found := w.consentApplication(); found {
			t.Errorf("it is still there: %+v", app)
		}
	}
	w := newWorld(t)
	resource := w.consents(func(s *v1alpha1.KeycardResourceSpec) { s.DeletionPolicy = v1alpha1.DeletionDelete })
	w.resources.ConsentRedirectURIs = nil
	w.reconcileResource(resource)
	removed(w)
	if resource.Status.ConsentClientID != "" {
		t.Errorf("status still has the client id %q", resource.Status.ConsentClientID)
	}
	w.resources.ConsentRedirectURIs = consentRedirectURIs
	w.reconcileResource(resource)
	app := w.checkConsent(resource)

	// Another install uses it too.
	other, err := w.admin().CreateResource(w.ctx, w.zone.ZoneID, keycard.ResourceCreate{
		Identifier: "https://other.example", Name: "Other", CredentialProviderID: resource.Status.ProviderID,
	})
	must(t, err)
	must(t, w.admin().PutDependency(w.ctx, w.zone.ZoneID, app.ID, other.ID))
	must(t, w.k8s.Delete(w.ctx, w.binding("reports")))
	must(t, w.k8s.Delete(w.ctx, resource))
	w.reconcileResource(resource)
	if has, err := w.admin().ListDependencies(w.ctx, w.zone.ZoneID, app.ID); err != nil || len(has) != 1 || has[0].ID != other.ID {
		t.Errorf("it depends on %+v, %v", has, err)
	}
	must(t, w.admin().DeleteDependency(w.ctx, w.zone.ZoneID, app.ID, other.ID))

	w = newWorld(t)
	resource = w.consents(func(s *v1alpha1.KeycardResourceSpec) { s.DeletionPolicy = v1alpha1.DeletionDelete })
	must(t, w.k8s.Delete(w.ctx, w.binding("reports")))
	must(t, w.k8s.Delete(w.ctx, resource))
	w.reconcileResource(resource)
	removed(w)
}

// An application that somebody else has made under the identifier is left alone, and does not keep the rest from being
// registered; where the zone is only observed, it is used.
func TestConsentApplicationOfOthers(t *testing.T) {
	w := newWorld(t)
	w.resources.ConsentRedirectURIs = consentRedirectURIs
	foreign := w.application(consentIdentifier)
	resource := w.install()
	must(t, w.k8s.Create(w.ctx, resource))
	must(t, w.k8s.Create(w.ctx, w.binding("reports")))
	w.reconcileResource(resource)
	message := w.expect(resource, v1alpha1.ConditionApplicationsRegistered, metav1.ConditionFalse, v1alpha1.ReasonApplicationConflict)
	if !strings.Contains(message, "[keycard-operator "+clusterID+" consent]") {
		t.Errorf("the message does not say how to mend it: %s", message)
	}
	w.expect(resource, v1alpha1.ConditionResourceRegistered, metav1.ConditionTrue, v1alpha1.ReasonRegistered)
	_, err := w.admin().CreateApplicationCredential(w.ctx, w.zone.ZoneID, keycard.ApplicationCredentialCreate{
		ApplicationID: foreign.ID, Type: keycard.CredentialPublic, Identifier: "by-hand",
	})
	must(t, err)
	w.requests.take()
	w.edit(resource, func(s *v1alpha1.KeycardResourceSpec) { s.ManagementPolicy = v1alpha1.ManagementObserve })
	w.expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if r := remoteWrites(w.requests.take()); len(r) > 0 || resource.Status.ConsentClientID != "by-hand" {
		t.Errorf("wrote %v; the client id is %q", r, resource.Status.ConsentClientID)
	}
}
