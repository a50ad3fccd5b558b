// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers/keycardresource"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/redacted"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// remoteWrites picks the mutating requests to the management API.
func remoteWrites(seen []string) []string {
	return slices.DeleteFunc(slices.Clone(seen), func(s string) bool {
		return !strings.HasPrefix(s, "api ") || strings.HasPrefix(s, "api GET") || strings.Contains(s, "service-account-token")
	})
}

// An install without its OAuth app's Secret says how to make that app, and completes when the Secret is there.
func TestInstallBeforeItsSecret(t *testing.T) {
	w := world.New(t)
	resource := w.Install()
	resource.Spec.OAuthAppSecretRef.Name = "later"
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	result := w.ReconcileResource(resource)
	message := w.Expect(resource, v1alpha1.ConditionCredentialsValid, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	for _, part := range []string{w.NS + "/later", resource.Status.RedirectURI, "client_id", "client_secret", "read:confluence-content.all", "Atlassian"} {
		if part == "" || !strings.Contains(message, part) {
			t.Errorf("the message does not say %q: %s", part, message)
		}
	}
	w.Absent(resource, v1alpha1.ConditionStalled)
	w.Expect(resource, v1alpha1.ConditionReconciling, metav1.ConditionTrue, v1alpha1.ReasonProgressingWithRetry)
	if result.RequeueAfter != 0 {
		t.Errorf("tries again after %s, though a watch reports the Secret", result.RequeueAfter)
	}
	if r := remoteWrites(w.Requests.Take()); len(r) > 0 {
		t.Errorf("wrote to the zone: %v", r)
	}
	w.Secret("later", "atlassian-app", world.AtlassianSecret)
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.Absent(resource, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled)
}

// An install is written once: neither time nor a restart writes it again.
func TestInstallIsIdempotent(t *testing.T) {
	w := world.New(t)
	resource, _ := w.Ready()
	if r := remoteWrites(w.Requests.Take()); len(r) != 2 {
		t.Errorf("the install wrote %v", r)
	}
	w.Writes.Take()
	for range 3 {
		result := w.ReconcileResource(resource)
		if result.RequeueAfter < 9*time.Minute || result.RequeueAfter > 10*time.Minute {
			t.Errorf("compares again after %s", result.RequeueAfter)
		}
		w.Connect()
	}
	if r := remoteWrites(w.Requests.Take()); len(r) > 0 {
		t.Errorf("wrote to the zone: %v", r)
	}
	if r := w.Writes.Take(); len(r) > 0 {
		t.Errorf("wrote to the cluster: %v", r)
	}
	remote, _, err := w.Admin().FindResource(w.Ctx, w.Zone.ZoneID, world.ResourceIdentifier)
	must.Succeed(t, err)
	if !slices.Contains(remote.Scopes, "offline_access") || slices.Contains(resource.Status.Scopes, "offline_access") {
		t.Errorf("the zone has scopes %v, status has %v", remote.Scopes, resource.Status.Scopes)
	}
}

// A changed client secret reaches the zone with one write; the hash in status gives nothing away.
func TestRotatedOAuthApp(t *testing.T) {
	w := world.New(t)
	resource, _ := w.Ready()
	hash := resource.Status.OAuthAppHash
	var s corev1.Secret
	must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKey{Namespace: w.NS, Name: "oauth-app"}, &s))
	s.Data[v1alpha1.ClientSecretKey] = []byte("rotated-secret")
	must.Succeed(t, w.K8s.Update(w.Ctx, &s))
	w.Requests.Take()
	w.ReconcileResource(resource)
	w.ReconcileResource(resource)
	r := remoteWrites(w.Requests.Take())
	if len(r) != 1 || !strings.HasPrefix(r[0], "api PATCH") || !strings.Contains(r[0], "/providers/") {
		t.Errorf("the rotation wrote %v", r)
	}
	if resource.Status.OAuthAppHash == hash || strings.Contains(resource.Status.OAuthAppHash, "rotated") {
		t.Errorf("hash %s, was %s", resource.Status.OAuthAppHash, hash)
	}
}

// What people change in the console is put right.
func TestDriftIsPutRight(t *testing.T) {
	w := world.New(t)
	resource, _ := w.Ready()
	admin := w.Admin()
	_, err := admin.PatchResource(w.Ctx, w.Zone.ZoneID, resource.Status.ResourceID, keycard.ResourcePatch{
		Name: keycard.Set("changed"), Scopes: keycard.Set([]string{"search:confluence"}),
	})
	must.Succeed(t, err)
	_, err = admin.PatchProvider(w.Ctx, w.Zone.ZoneID, resource.Status.ProviderID, keycard.ProviderPatch{ClientID: keycard.Set("another")})
	must.Succeed(t, err)
	w.ReconcileResource(resource)
	remote, err := admin.GetResource(w.Ctx, w.Zone.ZoneID, resource.Status.ResourceID)
	must.Succeed(t, err)
	provider, err := admin.GetProvider(w.Ctx, w.Zone.ZoneID, resource.Status.ProviderID)
	must.Succeed(t, err)
	if remote.Name != "Confluence Cloud" || len(remote.Scopes) != 3 || provider.ClientID != "atlassian-app" {
		t.Errorf("left %q %v %q", remote.Name, remote.Scopes, provider.ClientID)
	}
}

// What the operator did not create is not taken over: the provider is shared when it has the same app,
// the resource only when it is told to.
func TestObjectsOfOthers(t *testing.T) {
	w := world.New(t)
	admin := w.Admin()
	foreign, err := admin.CreateProvider(w.Ctx, w.Zone.ZoneID, keycard.ProviderCreate{
		Identifier: world.ProviderIdentifier, Name: "Made by hand", ClientID: "somebody-elses-app", ClientSecret: redacted.New("theirs"),
		OAuth2: keycard.ProviderOAuth2{TokenEndpoint: "https://auth.atlassian.com/oauth/token", AuthorizationEndpoint: "https://auth.atlassian.com/authorize"},
	})
	must.Succeed(t, err)
	resource := w.Install()
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	w.Requests.Take()

	w.ReconcileResource(resource)
	message := w.Expect(resource, v1alpha1.ConditionProviderRegistered, metav1.ConditionFalse, v1alpha1.ReasonProviderConflict)
	w.Expect(resource, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonProviderConflict)
	if !strings.Contains(message, "somebody-elses-app") || !strings.Contains(message, "atlassian-app") {
		t.Errorf("the message does not name both apps: %s", message)
	}

	_, err = admin.PatchProvider(w.Ctx, w.Zone.ZoneID, foreign.ID, keycard.ProviderPatch{ClientID: keycard.Set("atlassian-app"), ClientSecret: keycard.Null[redacted.String]()})
	must.Succeed(t, err)
	w.Requests.Take()
	w.ReconcileResource(resource)
	message = w.Expect(resource, v1alpha1.ConditionProviderRegistered, metav1.ConditionFalse, v1alpha1.ReasonProviderConflict)
	if !strings.Contains(message, "Set the client secret") {
		t.Errorf("the message does not ask for the client secret: %s", message)
	}
	if r := remoteWrites(w.Requests.Take()); len(r) > 0 {
		t.Errorf("wrote to objects of others: %v", r)
	}
	_, err = admin.PatchProvider(w.Ctx, w.Zone.ZoneID, foreign.ID, keycard.ProviderPatch{ClientSecret: keycard.Set(redacted.New(world.AtlassianSecret))})
	must.Succeed(t, err)
	mine, err := admin.CreateResource(w.Ctx, w.Zone.ZoneID, keycard.ResourceCreate{Identifier: world.ResourceIdentifier, Name: "Made by hand", CredentialProviderID: foreign.ID})
	must.Succeed(t, err)
	w.Requests.Take()
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionProviderRegistered, metav1.ConditionTrue, v1alpha1.ReasonShared)
	w.Expect(resource, v1alpha1.ConditionResourceRegistered, metav1.ConditionFalse, v1alpha1.ReasonIdentifierInUse)
	if r := remoteWrites(w.Requests.Take()); len(r) > 0 {
		t.Errorf("wrote to objects of others: %v", r)
	}

	resource.Spec.AdoptionPolicy = v1alpha1.AdoptionAdopt
	must.Succeed(t, w.K8s.Update(w.Ctx, resource))
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if resource.Status.ResourceID != mine.ID {
		t.Errorf("resource %s was made, %s was there", resource.Status.ResourceID, mine.ID)
	}
	provider, err := admin.GetProvider(w.Ctx, w.Zone.ZoneID, foreign.ID)
	must.Succeed(t, err)
	if provider.Name != "Made by hand" {
		t.Errorf("the shared provider was changed: %q", provider.Name)
	}
}

// The finalizer is on the object before anything is in the zone; deletion takes away what was created.
func TestFinalizerComesFirst(t *testing.T) {
	w := world.New(t)
	resource := w.Install()
	resource.Spec.DeletionPolicy = v1alpha1.DeletionDelete
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	undo := w.Requests.Answer("api POST /zones", func(rw http.ResponseWriter, _ *http.Request) {
		var live v1alpha1.KeycardResource
		must.Succeed(t, w.K8s.Get(context.WithoutCancel(w.Ctx), client.ObjectKeyFromObject(resource), &live))
		if !slices.Contains(live.Finalizers, v1alpha1.Finalizer) {
			t.Error("a create reached the zone before the finalizer was on the object")
		}
		rw.WriteHeader(http.StatusServiceUnavailable)
	})
	w.ReconcileResource(resource)
	undo()
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if p, r := w.Objects(); p != 1 || r != 1 {
		t.Fatalf("the zone has %d providers and %d resources", p, r)
	}
	must.Succeed(t, w.K8s.Delete(w.Ctx, resource))
	w.ReconcileResource(resource)
	if p, r := w.Objects(); p != 0 || r != 0 {
		t.Errorf("the zone still has %d providers and %d resources", p, r)
	}
	if err := w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(resource), resource); !apierrors.IsNotFound(err) {
		t.Errorf("the object is still there: %v", err)
	}
}

// Retain takes no finalizer and leaves the zone as it is; a provider that others use stays in any case.
func TestDeletionLeavesWhatIsInUse(t *testing.T) {
	w := world.New(t)
	resource, _ := w.Ready()
	if len(resource.Finalizers) > 0 {
		t.Errorf("Retain has finalizers %v", resource.Finalizers)
	}
	must.Succeed(t, w.K8s.Delete(w.Ctx, resource))
	w.ReconcileResource(resource)
	if p, r := w.Objects(); p != 1 || r != 1 {
		t.Fatalf("the zone has %d providers and %d resources", p, r)
	}

	// Applied again, it knows its objects by their marker.
	again := w.Install()
	again.Spec.DeletionPolicy = v1alpha1.DeletionDelete
	must.Succeed(t, w.K8s.Create(w.Ctx, again))
	w.ReconcileResource(again)
	w.Expect(again, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	_, err := w.Admin().CreateResource(w.Ctx, w.Zone.ZoneID, keycard.ResourceCreate{
		Identifier: "https://api.atlassian.com/ex/jira", Name: "Jira", CredentialProviderID: again.Status.ProviderID,
	})
	must.Succeed(t, err)
	must.Succeed(t, w.K8s.Delete(w.Ctx, again))
	w.Clock.Step(time.Minute) // for the binding that uses it
	w.ReconcileResource(again)
	if p, r := w.Objects(); p != 1 || r != 0 {
		t.Errorf("the zone has %d providers and %d resources, want the provider that Jira uses", p, r)
	}
	for _, r := range remoteWrites(w.Requests.Take()) {
		if strings.HasPrefix(r, "api DELETE") && strings.Contains(r, "/providers/") {
			t.Errorf("asked to delete the provider: %s", r)
		}
	}
	if err := w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(again), again); !apierrors.IsNotFound(err) {
		t.Errorf("the object is still there: %v", err)
	}
}

// What the spec says at the moment of the deletion counts: Retain, and suspended, leave the zone alone.
func TestDeletionHeedsTheSpec(t *testing.T) {
	yes := true
	for name, edit := range map[string]func(*v1alpha1.KeycardResource){
		"changed to Retain": func(r *v1alpha1.KeycardResource) { r.Spec.DeletionPolicy = v1alpha1.DeletionRetain },
		"suspended":         func(r *v1alpha1.KeycardResource) { r.Spec.Suspend = &yes },
	} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			resource := w.Install()
			resource.Spec.DeletionPolicy = v1alpha1.DeletionDelete
			must.Succeed(t, w.K8s.Create(w.Ctx, resource))
			w.ReconcileResource(resource)
			edit(resource)
			must.Succeed(t, w.K8s.Update(w.Ctx, resource))
			must.Succeed(t, w.K8s.Delete(w.Ctx, resource))
			w.Requests.Take()
			w.ReconcileResource(resource)
			if r := w.Requests.Take(); len(r) > 0 {
				t.Errorf("asked the zone: %v", r)
			}
			if err := w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(resource), resource); !apierrors.IsNotFound(err) {
				t.Errorf("the object is still there: %v", err)
			}
		})
	}
}

// A deletion that can't reach the zone gives up in bounded time, and says what it leaves behind.
func TestDeletionNeverWedges(t *testing.T) {
	tests := map[string]struct {
		breakIt func(*world.World)
		waits   time.Duration
	}{
		"the credentials are gone": {func(w *world.World) {
			must.Succeed(w.T, w.K8s.Delete(w.Ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: "service-account"}}))
			w.Connect() // what the zone has accepted before is forgotten by a restart only
		}, 30 * time.Second},
		"the zone is gone": {func(w *world.World) { must.Succeed(w.T, w.Zone.Close()) }, 5 * time.Minute},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			resource := w.Install()
			resource.Spec.DeletionPolicy = v1alpha1.DeletionDelete
			must.Succeed(t, w.K8s.Create(w.Ctx, resource))
			w.ReconcileResource(resource)
			w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			tc.breakIt(w)
			must.Succeed(t, w.K8s.Delete(w.Ctx, resource))
			must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(resource), resource))
			deadline := resource.DeletionTimestamp.Add(tc.waits)
			w.Clock.SetTime(resource.DeletionTimestamp.Time)
			w.Events.Take()
			steps := 0
			for ; w.Clock.Now().Before(deadline); steps++ {
				result := w.ReconcileResource(resource)
				w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonDeleting)
				if result.RequeueAfter < time.Second {
					t.Fatalf("comes back after %s", result.RequeueAfter)
				}
				w.Clock.Step(result.RequeueAfter)
			}
			w.ReconcileResource(resource)
			if err := w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(resource), resource); !apierrors.IsNotFound(err) {
				t.Errorf("the object is still there after %s: %v", tc.waits, err)
			}
			recorded := strings.Join(w.Events.Take(), "\n")
			if !strings.Contains(recorded, v1alpha1.EventOrphaned) || !strings.Contains(recorded, resource.Status.ResourceID) {
				t.Errorf("no event names the orphans: %s", recorded)
			}
			if steps > 40 {
				t.Errorf("%d attempts", steps)
			}
		})
	}
}

// A crash between a create at the zone and the write of the status leaves one object of each kind: the
// next process finds them by identifier and knows them by their marker.
func TestLostStatusWriteMakesNoDuplicate(t *testing.T) {
	w := world.New(t)
	resource := w.Install()
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	crashed := errors.New("crashed")
	base, err := client.NewWithWatch(world.Cluster.Config, client.Options{Scheme: world.Scheme(t)})
	must.Succeed(t, err)
	failing := interceptor.NewClient(base, interceptor.Funcs{
		List: world.ListByInstall,
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			if r, ok := o.(*v1alpha1.KeycardResource); ok && r.Status.ResourceID != "" {
				return crashed
			}
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	})
	w.Configure(func(d *keycardresource.Deps) { d.Client = failing })
	_, err = w.Resources.Reconcile(w.Ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(resource)})
	if !errors.Is(err, crashed) {
		t.Fatalf("the status was written: %v", err)
	}
	w.Requests.Take()
	w.Connect()
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	for _, r := range remoteWrites(w.Requests.Take()) {
		if strings.HasPrefix(r, "api POST") {
			t.Errorf("created again: %s", r)
		}
	}
}

// Another namespace may use an install only where it admits that namespace.
func TestCrossNamespaceUse(t *testing.T) {
	w := world.New(t)
	resource, _ := w.Ready()
	other := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "other-"}}
	must.Succeed(t, w.K8s.Create(w.Ctx, other))
	binding := w.Binding("stranger")
	binding.Namespace = other.Name
	binding.Spec.ResourceRef.Namespace = w.NS
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	must.Succeed(t, w.K8s.Create(w.Ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: other.Name, Name: "reports-app"},
		Data:       map[string][]byte{v1alpha1.ClientIDKey: []byte("reports"), v1alpha1.ClientSecretKey: []byte(world.ReportsSecret)},
	}))
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"confluence": "true"}}
	steps := []struct {
		name    string
		allowed *v1alpha1.AllowedNamespaces
		label   bool
		admits  bool
	}{
		{"absent", nil, false, false},
		{"same", &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSame}, false, false},
		{"selector, other labels", &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: selector}, false, false},
		{"selector, its labels", &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: selector}, true, true},
		{"all", &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}, false, true},
	}
	var refusals []string
	for _, step := range steps {
		resource.Spec.AllowedNamespaces = step.allowed
		must.Succeed(t, w.K8s.Update(w.Ctx, resource))
		other.Labels = map[string]string{}
		if step.label {
			other.Labels["confluence"] = "true"
		}
		must.Succeed(t, w.K8s.Update(w.Ctx, other))
		w.Requests.Take()
		w.ReconcileBinding(binding)
		if step.admits {
			w.Expect(binding, v1alpha1.ConditionResourceReady, metav1.ConditionTrue, v1alpha1.ReasonResourceRegistered)
			continue
		}
		refusals = append(refusals, w.Expect(binding, v1alpha1.ConditionResourceReady, metav1.ConditionFalse, v1alpha1.ReasonResourceNotFound))
		if n := w.Requests.Count(world.Exchanges); n > 0 {
			t.Errorf("%s: %d exchanges", step.name, n)
		}
	}
	// A resource that is not there reads the same.
	must.Succeed(t, w.K8s.Delete(w.Ctx, resource))
	missing := w.Binding("missing")
	missing.Namespace, missing.Spec.ResourceRef.Namespace = other.Name, w.NS
	must.Succeed(t, w.K8s.Create(w.Ctx, missing))
	w.ReconcileBinding(missing)
	refusals = append(refusals, w.Expect(missing, v1alpha1.ConditionResourceReady, metav1.ConditionFalse, v1alpha1.ReasonResourceNotFound))
	slices.Sort(refusals)
	if len(slices.Compact(refusals)) != 1 {
		t.Errorf("a stranger can tell refusals apart: %q", refusals)
	}
}

// A suspended object is left alone.
func TestSuspend(t *testing.T) {
	w := world.New(t)
	resource, binding := w.Ready()
	yes := true
	resource.Spec.Suspend, binding.Spec.Suspend = &yes, &yes
	must.Succeed(t, w.K8s.Update(w.Ctx, resource))
	must.Succeed(t, w.K8s.Update(w.Ctx, binding))
	w.Clock.SetTime(binding.Status.RefreshAt.Time)
	w.Requests.Take()
	w.ReconcileResource(resource)
	w.ReconcileBinding(binding)
	if r := w.Requests.Take(); len(r) > 0 {
		t.Errorf("asked the zone: %v", r)
	}
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSuspended)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSuspended)
	w.Clock.SetTime(binding.Status.ExpiresAt.Time)
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSuspended)
	binding.Spec.Suspend = nil
	must.Succeed(t, w.K8s.Update(w.Ctx, binding))
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}
