// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers/keycardresource"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

const consentIdentifier = "urn:kubernetes:" + world.ClusterID + ":keycard-operator:consent"

// consentApplication is the application that people sign in to, with its credentials.
func consentApplication(w *world.World) (keycard.Application, []keycard.ApplicationCredential, bool) {
	w.T.Helper()
	app, found, err := w.Admin().FindApplication(w.Ctx, w.Zone.ZoneID, consentIdentifier)
	must.Succeed(w.T, err)
	if !found {
		return app, nil, false
	}
	credentials, err := w.Admin().ListApplicationCredentials(w.Ctx, w.Zone.ZoneID, app.ID)
	must.Succeed(w.T, err)
	return app, credentials, true
}

// consents makes an install that registers the application for consent, because a binding acts for a person.
func consents(w *world.World, change ...func(*v1alpha1.KeycardResourceSpec)) *v1alpha1.KeycardResource {
	w.T.Helper()
	w.ConsentPage()
	resource := w.Install()
	for _, c := range change {
		c(&resource.Spec)
	}
	must.Succeed(w.T, w.K8s.Create(w.Ctx, resource))
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if _, _, found := consentApplication(w); found || resource.Status.ConsentClientID != "" {
		w.T.Fatalf("registered before anybody asked, with the client id %q", resource.Status.ConsentClientID)
	}
	must.Succeed(w.T, w.K8s.Create(w.Ctx, w.Binding("reports")))
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.Absent(resource, v1alpha1.ConditionApplicationsRegistered)
	return resource
}

// checkConsent checks that the application is as it has to be, and that the next look writes nothing.
func checkConsent(w *world.World, resource *v1alpha1.KeycardResource) keycard.Application {
	w.T.Helper()
	app, credentials, found := consentApplication(w)
	if !found || app.Consent != "required" || !slices.Equal(app.Protocols.OAuth2.RedirectURIs, world.ConsentRedirectURIs) || !depends(w, app.ID, resource) {
		w.T.Fatalf("the application is there: %v, %+v", found, app)
	}
	if len(credentials) != 1 || credentials[0].Type != keycard.CredentialPublic || credentials[0].Identifier != resource.Status.ConsentClientID {
		w.T.Errorf("it has the credentials %+v, status has the client id %q", credentials, resource.Status.ConsentClientID)
	}
	w.Events.Take()
	w.Requests.Take()
	w.Writes.Take()
	w.ReconcileResource(resource)
	if r := remoteWrites(w.Requests.Take()); len(r) > 0 {
		w.T.Errorf("wrote again: %v", r)
	}
	if r, e := w.Writes.Take(), w.Events.Take(); len(r)+len(e) > 0 {
		w.T.Errorf("wrote to the cluster: %v, and recorded %v", r, e)
	}
	return app
}

// The application for consent is registered once a binding acts for a person. What is changed about it or deleted is put
// right.
func TestConsentApplication(t *testing.T) {
	w := world.New(t)
	w.ConsentPage()
	resource := consents(w)
	if e := w.Events.Take(); slices.ContainsFunc(e, func(e string) bool { return strings.Contains(e, v1alpha1.EventDriftCorrected) }) {
		t.Errorf("its registration is announced as drift: %v", e)
	}
	app := checkConsent(w, resource)
	for name, step := range map[string]struct {
		change func(*keycard.ManagementClient, keycard.Application) error
		says   string
	}{
		"a foreign redirect URI": {func(admin *keycard.ManagementClient, app keycard.Application) error {
			_, err := admin.PatchApplication(w.Ctx, w.Zone.ZoneID, app.ID, keycard.ApplicationPatch{
				Name: keycard.Set("x"), Consent: keycard.Set("implicit"),
				Protocols: keycard.Set(keycard.ApplicationProtocols{OAuth2: keycard.ApplicationOAuth2{RedirectURIs: []string{"https://evil.example/"}}}),
			})
			return err
		}, "application for consent: name, consent, redirectURIs"},
		"its credential is deleted": {func(admin *keycard.ManagementClient, _ keycard.Application) error {
			_, credentials, _ := consentApplication(w)
			return admin.DeleteApplicationCredential(w.Ctx, w.Zone.ZoneID, credentials[0].ID)
		}, "application for consent: credential"},
		"its dependency is deleted": {func(admin *keycard.ManagementClient, app keycard.Application) error {
			return admin.DeleteDependency(w.Ctx, w.Zone.ZoneID, app.ID, resource.Status.ResourceID)
		}, "application for consent: dependency"},
		"it is deleted": {func(admin *keycard.ManagementClient, app keycard.Application) error {
			return admin.DeleteApplication(w.Ctx, w.Zone.ZoneID, app.ID)
		}, "application for consent: deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			app, _, _ = consentApplication(w)
			must.Succeed(t, step.change(w.Admin(), app))
			w.ReconcileResource(resource)
			expectEvent(w, "Warning", v1alpha1.EventDriftCorrected, step.says)
			checkConsent(w, resource)
		})
	}
}

// A crash before the status is written leaves one application, with one credential.
func TestConsentApplicationAfterACrash(t *testing.T) {
	w := world.New(t)
	resource := consents(w)
	before := resource.Status.ConsentClientID
	resource.Status.ConsentClientID = ""
	must.Succeed(t, w.K8s.Status().Update(w.Ctx, resource))
	w.Connect()
	w.ConsentPage()
	w.ReconcileResource(resource)
	checkConsent(w, resource)
	if resource.Status.ConsentClientID != before {
		t.Errorf("the client id is %q, it was %q", resource.Status.ConsentClientID, before)
	}
}

// The application goes with the last install that uses it, where the objects in the zone go, and when the operator is
// told to register none.
func TestConsentApplicationIsRemoved(t *testing.T) {
	removed := func(w *world.World) {
		t.Helper()
		if app, _, found := consentApplication(w); found {
			t.Errorf("it is still there: %+v", app)
		}
	}
	w := world.New(t)
	resource := consents(w, func(s *v1alpha1.KeycardResourceSpec) { s.DeletionPolicy = v1alpha1.DeletionDelete })
	w.Configure(func(d *keycardresource.Deps) { d.ConsentRedirectURIs = nil })
	w.ReconcileResource(resource)
	removed(w)
	if resource.Status.ConsentClientID != "" {
		t.Errorf("status still has the client id %q", resource.Status.ConsentClientID)
	}
	w.ConsentPage()
	w.ReconcileResource(resource)
	app := checkConsent(w, resource)

	// Another install uses it too.
	other, err := w.Admin().CreateResource(w.Ctx, w.Zone.ZoneID, keycard.ResourceCreate{
		Identifier: "https://other.example", Name: "Other", CredentialProviderID: resource.Status.ProviderID,
	})
	must.Succeed(t, err)
	must.Succeed(t, w.Admin().PutDependency(w.Ctx, w.Zone.ZoneID, app.ID, other.ID))
	must.Succeed(t, w.K8s.Delete(w.Ctx, w.Binding("reports")))
	must.Succeed(t, w.K8s.Delete(w.Ctx, resource))
	w.ReconcileResource(resource)
	if has, err := w.Admin().ListDependencies(w.Ctx, w.Zone.ZoneID, app.ID); err != nil || len(has) != 1 || has[0].ID != other.ID {
		t.Errorf("it depends on %+v, %v", has, err)
	}
	must.Succeed(t, w.Admin().DeleteDependency(w.Ctx, w.Zone.ZoneID, app.ID, other.ID))

	w = world.Another(t)
	resource = consents(w, func(s *v1alpha1.KeycardResourceSpec) { s.DeletionPolicy = v1alpha1.DeletionDelete })
	must.Succeed(t, w.K8s.Delete(w.Ctx, w.Binding("reports")))
	must.Succeed(t, w.K8s.Delete(w.Ctx, resource))
	w.ReconcileResource(resource)
	removed(w)
}

// An application that somebody else has made under the identifier is left alone, and does not keep the rest from being
// registered; where the zone is only observed, it is used.
func TestConsentApplicationOfOthers(t *testing.T) {
	w := world.New(t)
	w.ConsentPage()
	foreign := application(w, consentIdentifier)
	resource := w.Install()
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	must.Succeed(t, w.K8s.Create(w.Ctx, w.Binding("reports")))
	w.ReconcileResource(resource)
	message := w.Expect(resource, v1alpha1.ConditionApplicationsRegistered, metav1.ConditionFalse, v1alpha1.ReasonApplicationConflict)
	if !strings.Contains(message, "[keycard-operator "+world.ClusterID+" consent]") {
		t.Errorf("the message does not say how to mend it: %s", message)
	}
	w.Expect(resource, v1alpha1.ConditionResourceRegistered, metav1.ConditionTrue, v1alpha1.ReasonRegistered)
	_, err := w.Admin().CreateApplicationCredential(w.Ctx, w.Zone.ZoneID, keycard.ApplicationCredentialCreate{
		ApplicationID: foreign.ID, Type: keycard.CredentialPublic, Identifier: "by-hand",
	})
	must.Succeed(t, err)
	w.Requests.Take()
	edit(w, resource, func(s *v1alpha1.KeycardResourceSpec) { s.ManagementPolicy = v1alpha1.ManagementObserve })
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if r := remoteWrites(w.Requests.Take()); len(r) > 0 || resource.Status.ConsentClientID != "by-hand" {
		t.Errorf("wrote %v; the client id is %q", r, resource.Status.ConsentClientID)
	}
}
