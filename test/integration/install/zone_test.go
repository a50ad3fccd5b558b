// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/seed"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/redacted"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// application registers an application in the zone by hand.
func application(w *world.World, identifier string) keycard.Application {
	w.T.Helper()
	app, err := w.Admin().CreateApplication(w.Ctx, w.Zone.ZoneID, keycard.ApplicationCreate{Identifier: identifier, Name: identifier})
	must.Succeed(w.T, err)
	return app
}

// depends tells whether an application may ask for tokens of the install's resource, at any time.
func depends(w *world.World, app string, resource *v1alpha1.KeycardResource) bool {
	w.T.Helper()
	have, found, err := w.Admin().FindDependency(w.Ctx, w.Zone.ZoneID, app, resource.Status.ResourceID)
	must.Succeed(w.T, err)
	return found && len(have.WhenAccessing) == 0
}

// edit changes an install's spec and reconciles it.
func edit(w *world.World, r *v1alpha1.KeycardResource, change func(*v1alpha1.KeycardResourceSpec)) {
	w.T.Helper()
	change(&r.Spec)
	must.Succeed(w.T, w.K8s.Update(w.Ctx, r))
	w.ReconcileResource(r)
}

// expectEvent checks that events since the last call hold parts in one line.
func expectEvent(w *world.World, parts ...string) {
	w.T.Helper()
	list := w.Events.Take()
	if !slices.ContainsFunc(list, func(e string) bool {
		return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(e, p) })
	}) {
		w.T.Errorf("no event says %q; there are:\n%s", parts, strings.Join(list, "\n"))
	}
}

// What is changed or deleted in the zone is put right, and an event names the fields. The next look is silent.
func TestDriftIsReported(t *testing.T) {
	w := world.New(t)
	resource, _ := w.Ready()
	admin := w.Admin()
	steps := map[string]struct {
		change func()
		says   []string
	}{
		"the resource's name and scopes": {func() {
			_, err := admin.PatchResource(w.Ctx, w.Zone.ZoneID, resource.Status.ResourceID, keycard.ResourcePatch{
				Name: keycard.Set("changed"), Scopes: keycard.Set([]string{"search:confluence"}),
			})
			must.Succeed(t, err)
		}, []string{"resource: name, scopes"}},
		"the provider's client id and an endpoint": {func() {
			_, err := admin.PatchProvider(w.Ctx, w.Zone.ZoneID, resource.Status.ProviderID, keycard.ProviderPatch{
				ClientID: keycard.Set("another"), OAuth2: keycard.ProviderOAuth2Patch{TokenEndpoint: keycard.Set("https://evil.example/token")},
			})
			must.Succeed(t, err)
		}, []string{"provider: clientID, tokenEndpoint"}},
		"the provider's issuer, and how it reads scopes and tokens": {func() {
			_, err := admin.PatchProvider(w.Ctx, w.Zone.ZoneID, resource.Status.ProviderID, keycard.ProviderPatch{OAuth2: keycard.ProviderOAuth2Patch{
				Issuer: keycard.Set("https://evil.example"), ScopeParameter: keycard.Set("user_scope"), ScopeSeparator: keycard.Set(","),
				TokenResponseAccessTokenPointer: keycard.Set("authed_user.access_token"),
			}})
			must.Succeed(t, err)
		}, []string{"provider: issuer, scopeParameter, scopeSeparator, tokenResponseAccessTokenPointer"}},
		"the provider's client secret": {func() {
			_, err := admin.PatchProvider(w.Ctx, w.Zone.ZoneID, resource.Status.ProviderID, keycard.ProviderPatch{ClientSecret: keycard.Null[redacted.String]()})
			must.Succeed(t, err)
		}, []string{"provider: clientSecret"}},
		"the resource is deleted": {func() {
			must.Succeed(t, admin.DeleteResource(w.Ctx, w.Zone.ZoneID, resource.Status.ResourceID))
		}, []string{"resource: deleted"}},
	}
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			w.Events.Take()
			step.change()
			w.ReconcileResource(resource)
			w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			expectEvent(w, append(step.says, "Warning", v1alpha1.EventDriftCorrected)...)
			w.Requests.Take()
			w.ReconcileResource(resource)
			if r := remoteWrites(w.Requests.Take()); len(r) > 0 {
				t.Errorf("wrote again: %v", r)
			}
			if e := w.Events.Take(); len(e) > 0 {
				t.Errorf("recorded again: %v", e)
			}
		})
	}
}

// An issuer that the zone writes with a slash is the same.
func TestIssuerWithASlash(t *testing.T) {
	w := world.New(t)
	resource, _ := w.Ready()
	_, err := w.Admin().PatchProvider(w.Ctx, w.Zone.ZoneID, resource.Status.ProviderID, keycard.ProviderPatch{
		OAuth2: keycard.ProviderOAuth2Patch{Issuer: keycard.Set(world.ProviderIdentifier + "/")},
	})
	must.Succeed(t, err)
	w.Requests.Take()
	w.ReconcileResource(resource)
	if r := remoteWrites(w.Requests.Take()); len(r) > 0 {
		t.Errorf("wrote to the zone: %v", r)
	}
}

// What could not be put right yet is not announced as if it were.
func TestDriftThatStays(t *testing.T) {
	w := world.New(t)
	resource, _ := w.Ready()
	must.Succeed(t, w.Admin().DeleteResource(w.Ctx, w.Zone.ZoneID, resource.Status.ResourceID))
	undo := w.Requests.Answer("api POST /zones", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	w.Events.Take()
	for range 3 {
		w.Clock.Step(w.ReconcileResource(resource).RequeueAfter)
	}
	if e := w.Events.Take(); len(e) > 0 {
		t.Errorf("announced %v", e)
	}
	undo()
	w.ReconcileResource(resource)
	expectEvent(w, v1alpha1.EventDriftCorrected, "resource: deleted")
}

// What a changed spec, a rotated OAuth app or a rotated service account asks for is no drift; what somebody changed
// meanwhile is.
func TestWantedChangesAreNoDrift(t *testing.T) {
	s := seed.Default()
	s.ServiceAccounts = append(s.ServiceAccounts, seed.ServiceAccount{ClientID: "operator-2", ClientSecret: "dev-only-next-operator-secret"})
	w := world.New(t, func(c *devzone.Config) { c.Seed = s })
	resource, _ := w.Ready()
	w.Events.Take()
	edit(w, resource, func(s *v1alpha1.KeycardResourceSpec) {
		s.Scopes = &v1alpha1.ScopeSelection{Add: []v1alpha1.Scope{"search:confluence"}}
	})
	if e := w.Events.Take(); len(e) > 0 {
		t.Errorf("a changed spec is announced: %v", e)
	}
	change := func(name, id, secret string) {
		t.Helper()
		var s corev1.Secret
		must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKey{Namespace: w.NS, Name: name}, &s))
		s.Data[v1alpha1.ClientIDKey], s.Data[v1alpha1.ClientSecretKey] = []byte(id), []byte(secret)
		must.Succeed(t, w.K8s.Update(w.Ctx, &s))
		w.ReconcileResource(resource)
		w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	}
	redirect := func() {
		t.Helper()
		_, err := w.Admin().PatchProvider(w.Ctx, w.Zone.ZoneID, resource.Status.ProviderID, keycard.ProviderPatch{
			OAuth2: keycard.ProviderOAuth2Patch{TokenEndpoint: keycard.Set("https://evil.example/token")},
		})
		must.Succeed(t, err)
	}
	announced := func(want ...string) {
		t.Helper()
		list := w.Events.Take()
		if !slices.EqualFunc(list, want, strings.Contains) {
			t.Errorf("there are the events %q, want %q", list, want)
		}
	}
	const rotated = "Normal " + v1alpha1.EventOAuthAppRotated
	change("oauth-app", "atlassian-app", "rotated-secret")
	announced(rotated)
	change("oauth-app", "another-app", "another-secret")
	announced(rotated)
	change("service-account", "operator-2", "dev-only-next-operator-secret")
	announced()
	redirect()
	change("service-account", "operator", world.OperatorSecret)
	announced("provider: tokenEndpoint")
	redirect()
	change("oauth-app", "atlassian-app", "next-secret")
	announced(rotated, "provider: tokenEndpoint")
}

// Observe compares and reports, and sends nothing that changes the zone.
func TestObserve(t *testing.T) {
	w := world.New(t)
	resource := w.Install()
	resource.Spec.ManagementPolicy, resource.Spec.DeletionPolicy = v1alpha1.ManagementObserve, v1alpha1.DeletionDelete
	resource.Spec.Applications = []v1alpha1.ApplicationReference{{Identifier: "urn:app:wiki"}}
	resource.Spec.Policies = []v1alpha1.AccessPolicy{{Name: "all", Cedar: permitAll}}
	app := application(w, "urn:app:wiki")
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	w.Requests.Take()
	silent := func() {
		t.Helper()
		if r := remoteWrites(w.Requests.Take()); len(r) > 0 {
			t.Errorf("wrote to the zone: %v", r)
		}
	}
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionProviderRegistered, metav1.ConditionFalse, v1alpha1.ReasonNotRegistered)
	w.Expect(resource, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonNotRegistered)
	silent()

	// Somebody else's tool installs it, otherwise than the spec says.
	admin := w.Admin()
	provider, err := admin.CreateProvider(w.Ctx, w.Zone.ZoneID, keycard.ProviderCreate{
		Identifier: world.ProviderIdentifier, Name: "Atlassian", ClientID: "atlassian-app", ClientSecret: redacted.New(world.AtlassianSecret),
		OAuth2: keycard.ProviderOAuth2{
			TokenEndpoint: "https://auth.atlassian.com/oauth/token", AuthorizationEndpoint: "https://auth.atlassian.com/authorize",
			AuthorizationParameters: map[string]string{"audience": "api.atlassian.com", "prompt": "consent"},
		},
	})
	must.Succeed(t, err)
	remote, err := admin.CreateResource(w.Ctx, w.Zone.ZoneID, keycard.ResourceCreate{
		Identifier: world.ResourceIdentifier, Name: "Wiki", CredentialProviderID: provider.ID, Scopes: []string{"read:confluence-content.all", "offline_access"},
		Metadata: keycard.Metadata{DocsURL: "https://developer.atlassian.com/cloud/confluence/oauth-2-3lo-apps/"},
	})
	must.Succeed(t, err)
	w.Requests.Take()
	w.ReconcileResource(resource)
	message := w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonDrifted)
	for _, part := range []string{"resource: name, scopes", "application urn:app:wiki: dependency", "policy all: not in force"} {
		if !strings.Contains(message, part) {
			t.Errorf("the message does not say %q: %s", part, message)
		}
	}
	w.Expect(resource, v1alpha1.ConditionProviderRegistered, metav1.ConditionTrue, v1alpha1.ReasonObserved)
	w.Expect(resource, v1alpha1.ConditionResourceRegistered, metav1.ConditionFalse, v1alpha1.ReasonDrifted)
	silent()
	if len(resource.Finalizers) > 0 {
		t.Errorf("has finalizers %v, though it removes nothing", resource.Finalizers)
	}

	_, err = admin.PatchResource(w.Ctx, w.Zone.ZoneID, remote.ID, keycard.ResourcePatch{
		Name: keycard.Set("Confluence Cloud"), Scopes: keycard.Set([]string{"read:confluence-content.all", "write:confluence-content", "offline_access"}),
	})
	must.Succeed(t, err)
	must.Succeed(t, admin.PutDependency(w.Ctx, w.Zone.ZoneID, app.ID, remote.ID))
	_, err = admin.PatchProvider(w.Ctx, w.Zone.ZoneID, provider.ID, keycard.ProviderPatch{ClientSecret: keycard.Null[redacted.String]()})
	must.Succeed(t, err)
	edit(w, resource, func(s *v1alpha1.KeycardResourceSpec) { s.Policies = nil })
	message = w.Expect(resource, v1alpha1.ConditionProviderRegistered, metav1.ConditionFalse, v1alpha1.ReasonDrifted)
	if !strings.Contains(message, "provider: clientSecret") {
		t.Errorf("the message does not name the client secret: %s", message)
	}
	_, err = admin.PatchProvider(w.Ctx, w.Zone.ZoneID, provider.ID, keycard.ProviderPatch{ClientSecret: keycard.Set(redacted.New(world.AtlassianSecret))})
	must.Succeed(t, err)
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.Expect(resource, v1alpha1.ConditionApplicationsRegistered, metav1.ConditionTrue, v1alpha1.ReasonObserved)
}

// An application of the spec gets the resource as a dependency, and loses it when it leaves the spec. Those of others
// are left alone.
func TestDeclaredApplications(t *testing.T) {
	w := world.New(t)
	resource, _ := w.Ready()
	wiki, search, other := application(w, "urn:app:wiki"), application(w, "urn:app:search"), application(w, "urn:app:other")
	must.Succeed(t, w.Admin().PutDependency(w.Ctx, w.Zone.ZoneID, other.ID, resource.Status.ResourceID))
	declare := func(identifiers ...string) {
		t.Helper()
		edit(w, resource, func(s *v1alpha1.KeycardResourceSpec) {
			s.Applications = nil
			for _, id := range identifiers {
				s.Applications = append(s.Applications, v1alpha1.ApplicationReference{Identifier: id})
			}
		})
	}
	check := func(want ...bool) {
		t.Helper()
		for i, app := range []keycard.Application{wiki, search, other} {
			if got := depends(w, app.ID, resource); got != want[i] {
				t.Errorf("%s depends on the resource: %v, want %v", app.Identifier, got, want[i])
			}
		}
	}
	declare("urn:app:wiki", "urn:app:search")
	w.Expect(resource, v1alpha1.ConditionApplicationsRegistered, metav1.ConditionTrue, v1alpha1.ReasonRegistered)
	check(true, true, true)

	declare("urn:app:search", "urn:app:nobody")
	message := w.Expect(resource, v1alpha1.ConditionApplicationsRegistered, metav1.ConditionFalse, v1alpha1.ReasonApplicationNotFound)
	if !strings.Contains(message, "urn:app:nobody") || strings.Contains(message, "urn:app:search") {
		t.Errorf("the message names the wrong application: %s", message)
	}
	check(false, true, true)

	must.Succeed(t, w.Admin().DeleteDependency(w.Ctx, w.Zone.ZoneID, search.ID, resource.Status.ResourceID))
	application(w, "urn:app:nobody")
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	check(false, true, true)

	declare()
	w.Absent(resource, v1alpha1.ConditionApplicationsRegistered)
	check(false, false, true)
	if len(resource.Status.Applications) > 0 {
		t.Errorf("status still names %v", resource.Status.Applications)
	}
}

// A dependency that holds only while the application accesses something else is no full one: it is reported where the
// zone is only observed, and put right elsewhere.
func TestRestrictedDependency(t *testing.T) {
	restriction := ""
	w := world.New(t, func(c *devzone.Config) {
		recorded := c.APIMiddleware
		c.APIMiddleware = func(next http.Handler) http.Handler {
			return recorded(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut {
					r.URL.RawQuery = restriction
				}
				next.ServeHTTP(rw, r)
			}))
		}
	})
	resource, _ := w.Ready()
	app := application(w, "urn:app:wiki")
	other, err := w.Admin().CreateResource(w.Ctx, w.Zone.ZoneID, keycard.ResourceCreate{Identifier: "https://other.example", Name: "Other"})
	must.Succeed(t, err)
	restriction = "when_accessing=" + other.ID
	must.Succeed(t, w.Admin().PutDependency(w.Ctx, w.Zone.ZoneID, app.ID, resource.Status.ResourceID))
	restriction = ""
	edit(w, resource, func(s *v1alpha1.KeycardResourceSpec) {
		s.ManagementPolicy, s.Applications = v1alpha1.ManagementObserve, []v1alpha1.ApplicationReference{{Identifier: "urn:app:wiki"}}
	})
	message := w.Expect(resource, v1alpha1.ConditionApplicationsRegistered, metav1.ConditionFalse, v1alpha1.ReasonDrifted)
	if !strings.Contains(message, "application urn:app:wiki: whenAccessing") || depends(w, app.ID, resource) {
		t.Errorf("depends at any time: %v; the message is %s", depends(w, app.ID, resource), message)
	}
	edit(w, resource, func(s *v1alpha1.KeycardResourceSpec) { s.ManagementPolicy = v1alpha1.ManagementManage })
	w.Expect(resource, v1alpha1.ConditionApplicationsRegistered, metav1.ConditionTrue, v1alpha1.ReasonRegistered)
	if !depends(w, app.ID, resource) {
		t.Error("the dependency is still restricted")
	}
	w.Requests.Take()
	w.ReconcileResource(resource)
	if r := remoteWrites(w.Requests.Take()); len(r) > 0 {
		t.Errorf("wrote again: %v", r)
	}
}

// Workloads that bindings name are registered, and removed with the last binding; only in admitted namespaces.
func TestWorkloadRegistration(t *testing.T) {
	w := world.New(t)
	resource := w.Install()
	resource.Spec.WorkloadRegistration = &v1alpha1.WorkloadRegistration{JWKSURI: "https://kubernetes.example/keys"}
	resource.Spec.DeletionPolicy = v1alpha1.DeletionDelete
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	workloads := func() (names []string) {
		apps, err := w.Admin().ListApplications(w.Ctx, w.Zone.ZoneID, func(a keycard.Application) bool { return strings.Contains(a.Description, "workload]") })
		must.Succeed(t, err)
		for _, a := range apps {
			names = append(names, strings.TrimPrefix(a.Identifier, "urn:kubernetes:"+world.ClusterID+":serviceaccount:"+w.NS+":"))
			credentials, err := w.Admin().ListApplicationCredentials(w.Ctx, w.Zone.ZoneID, a.ID)
			must.Succeed(t, err)
			if len(credentials) != 1 || !strings.HasPrefix(credentials[0].Subject, "system:serviceaccount:"+w.NS+":") || !depends(w, a.ID, resource) {
				t.Errorf("%s has the credentials %+v, and depends: %v", a.Identifier, credentials, depends(w, a.ID, resource))
			}
		}
		slices.Sort(names)
		return names
	}
	bind := func(name, serviceAccount string) *v1alpha1.ConfluenceTokenBinding {
		b := w.Binding(name)
		b.Spec.Application = v1alpha1.Application{ServiceAccountName: serviceAccount}
		must.Succeed(t, w.K8s.Create(w.Ctx, b))
		return b
	}
	one, two, three := bind("one", "wiki"), bind("two", "wiki"), bind("three", "search")
	stranger := w.Binding("stranger")
	stranger.Namespace, stranger.Spec.ResourceRef.Namespace = "default", w.NS
	stranger.Name = "stranger-" + w.NS
	stranger.Spec.Application = v1alpha1.Application{ServiceAccountName: "evil"}
	must.Succeed(t, w.K8s.Create(w.Ctx, stranger))
	t.Cleanup(func() { _ = w.K8s.Delete(w.Ctx, stranger) })

	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if got := workloads(); !slices.Equal(got, []string{"search", "wiki"}) || *resource.Status.Workloads != 2 {
		t.Errorf("registered %v, status says %d", got, *resource.Status.Workloads)
	}
	cluster, found, err := w.Admin().FindProvider(w.Ctx, w.Zone.ZoneID, world.ClusterIssuer)
	must.Succeed(t, err)
	if !found || cluster.Protocols.OAuth2.JWKSURI != "https://kubernetes.example/keys" {
		t.Errorf("the cluster's provider is there: %v, %+v", found, cluster)
	}
	w.Requests.Take()
	w.ReconcileResource(resource)
	if r := remoteWrites(w.Requests.Take()); len(r) > 0 {
		t.Errorf("wrote again: %v", r)
	}

	w.Events.Take()
	bind("late", "later")
	w.ReconcileResource(resource)
	if got, e := workloads(), w.Events.Take(); !slices.Equal(got, []string{"later", "search", "wiki"}) || len(e) > 0 {
		t.Errorf("registered %v, and announced %v", got, e)
	}
	must.Succeed(t, w.K8s.Delete(w.Ctx, w.Binding("late")))
	must.Succeed(t, w.K8s.Delete(w.Ctx, one))
	must.Succeed(t, w.K8s.Delete(w.Ctx, three))
	w.ReconcileResource(resource)
	if got := workloads(); !slices.Equal(got, []string{"wiki"}) {
		t.Errorf("registered %v", got)
	}
	must.Succeed(t, w.K8s.Delete(w.Ctx, two))
	w.ReconcileResource(resource)
	if got := workloads(); len(got) > 0 {
		t.Errorf("registered %v", got)
	}
	if _, found, err = w.Admin().FindProvider(w.Ctx, w.Zone.ZoneID, world.ClusterIssuer); err != nil || found {
		t.Errorf("the cluster is still registered: %v, %v", found, err)
	}

	bind("four", "wiki")
	w.ReconcileResource(resource)
	edit(w, resource, func(s *v1alpha1.KeycardResourceSpec) { s.WorkloadRegistration = nil })
	if got := workloads(); len(got) > 0 || resource.Status.Workloads != nil {
		t.Errorf("switched off, there are %v", got)
	}
}

const (
	permitAll   = "permit (principal, action, resource);"
	forbidAlice = `forbid (principal is Keycard::User, action, resource) when { principal.identifier == "alice@example.com" };`
)

// Policies of the spec are in force along with those of others, come back when somebody activates another set, and go.
func TestPolicies(t *testing.T) {
	w := world.New(t)
	resource, binding := w.Ready()
	inForce := func() (names []string) {
		admin := w.Admin()
		sets, err := admin.ListPolicySets(w.Ctx, w.Zone.ZoneID, func(p keycard.PolicySet) bool { return p.Active })
		must.Succeed(t, err)
		version, err := admin.GetPolicySetVersion(w.Ctx, w.Zone.ZoneID, sets[0].ID, sets[0].ActiveVersionID)
		must.Succeed(t, err)
		for _, e := range version.Manifest.Entries {
			names = append(names, e.PolicyID)
		}
		return names
	}
	before := inForce()
	edit(w, resource, func(s *v1alpha1.KeycardResourceSpec) {
		s.Policies = []v1alpha1.AccessPolicy{{Name: "not-alice", Cedar: forbidAlice}}
	})
	w.Expect(resource, v1alpha1.ConditionPoliciesApplied, metav1.ConditionTrue, v1alpha1.ReasonApplied)
	ours := resource.Status.Policies[0].ID
	if got := inForce(); !slices.Equal(got, append(slices.Clone(before), ours)) {
		t.Errorf("in force are %v, before %v", got, before)
	}
	w.Clock.SetTime(binding.Status.RefreshAt.Time)
	w.ReconcileBinding(binding)
	message := w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	if !strings.Contains(message, "not-alice") {
		t.Errorf("the denial does not name the policy: %s", message)
	}

	// Somebody puts the platform's set in force again, and deletes nothing.
	admin := w.Admin()
	platform, err := admin.ListPolicySets(w.Ctx, w.Zone.ZoneID, func(p keycard.PolicySet) bool { return p.OwnerType == keycard.OwnerPlatform })
	must.Succeed(t, err)
	must.Succeed(t, admin.ActivatePolicySetVersion(w.Ctx, w.Zone.ZoneID, platform[0].ID, platform[0].LatestVersionID))
	before = inForce()
	w.Events.Take()
	w.ReconcileResource(resource)
	expectEvent(w, v1alpha1.EventDriftCorrected, "policy set in force")
	if got := inForce(); !slices.Contains(got, ours) {
		t.Errorf("in force are %v, without %s", got, ours)
	}
	w.Requests.Take()
	w.ReconcileResource(resource)
	if r := remoteWrites(w.Requests.Take()); len(r) > 0 {
		t.Errorf("wrote again: %v", r)
	}

	// A text that the zone refuses leaves what is in force.
	edit(w, resource, func(s *v1alpha1.KeycardResourceSpec) {
		s.Policies = []v1alpha1.AccessPolicy{{Name: "all", Cedar: permitAll}, {Name: "broken", Cedar: "permit (principal, action"}}
	})
	message = w.Expect(resource, v1alpha1.ConditionPoliciesApplied, metav1.ConditionFalse, v1alpha1.ReasonPolicyInvalid)
	if !strings.HasPrefix(message, "The zone refuses spec.policies[1].cedar (policy broken). ") {
		t.Errorf("the message does not name the field: %s", message)
	}
	if got := inForce(); !slices.Contains(got, ours) {
		t.Errorf("in force are %v, without %s", got, ours)
	}
	edit(w, resource, func(s *v1alpha1.KeycardResourceSpec) { s.Policies = nil })
	w.Absent(resource, v1alpha1.ConditionPoliciesApplied)
	if got := inForce(); !slices.Equal(got, before) || len(resource.Status.Policies) > 0 {
		t.Errorf("in force are %v, before %v; status %v", got, before, resource.Status.Policies)
	}
	left, err := admin.ListPolicies(w.Ctx, w.Zone.ZoneID, func(p keycard.Policy) bool { return p.ArchivedAt == "" && strings.Contains(p.Description, w.NS) })
	must.Succeed(t, err)
	if len(left) > 0 {
		t.Errorf("policies are left: %+v", left)
	}
}

// The zone takes the policy that the documents show.
func TestDocumentedPolicy(t *testing.T) {
	raw, err := os.ReadFile("../../../docs/install.md")
	must.Succeed(t, err)
	_, text, _ := strings.Cut(string(raw), "cedar: |\n")
	text, _, _ = strings.Cut(text, "```")
	w := world.New(t)
	resource := w.Install()
	resource.Spec.Policies = []v1alpha1.AccessPolicy{{Name: "documented", Cedar: text}}
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionPoliciesApplied, metav1.ConditionTrue, v1alpha1.ReasonApplied)
}

// A deletion gives bindings that use the install a moment to go, names them, and then goes ahead.
func TestDeletionWaitsForItsUsers(t *testing.T) {
	w := world.New(t)
	resource, binding := w.Ready()
	edit(w, resource, func(s *v1alpha1.KeycardResourceSpec) { s.DeletionPolicy = v1alpha1.DeletionDelete })
	must.Succeed(t, w.K8s.Delete(w.Ctx, resource))
	must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(resource), resource))
	w.Clock.SetTime(resource.DeletionTimestamp.Time)
	w.Events.Take()
	result := w.ReconcileResource(resource)
	message := w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonInUse)
	if !strings.Contains(message, w.NS+"/reports") || result.RequeueAfter <= 0 || result.RequeueAfter > 30*time.Second {
		t.Errorf("comes back after %s: %s", result.RequeueAfter, message)
	}
	expectEvent(w, "Warning", v1alpha1.ReasonInUse, w.NS+"/reports")
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionResourceReady, metav1.ConditionFalse, v1alpha1.ReasonResourceNotReady)
	w.ReconcileResource(resource)
	if e := w.Events.Take(); slices.ContainsFunc(e, func(s string) bool { return strings.Contains(s, v1alpha1.ReasonInUse) }) {
		t.Errorf("announced again: %v", e)
	}
	w.Clock.Step(31 * time.Second)
	w.ReconcileResource(resource)
	if err := w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(resource), resource); !apierrors.IsNotFound(err) {
		t.Errorf("the object is still there: %v", err)
	}
	if p, r := w.Objects(); p+r != 0 {
		t.Errorf("the zone still has %d providers and %d resources", p, r)
	}
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionResourceReady, metav1.ConditionFalse, v1alpha1.ReasonResourceNotFound)
}

// A zone with a private certificate authority is trusted by its bundle, and by nothing else.
func TestPrivateZone(t *testing.T) {
	dir := t.TempDir()
	w := world.New(t, func(c *devzone.Config) { c.TLSDir = filepath.Join(dir, "tls") })
	ca := string(w.Zone.CA)
	if ca == "" || !strings.HasPrefix(w.Zone.Issuer, "https://") {
		t.Fatalf("the zone at %s has no certificate", w.Zone.Issuer)
	}
	resource := w.Install()
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	w.ReconcileResource(resource)
	message := w.Expect(resource, v1alpha1.ConditionCredentialsValid, metav1.ConditionFalse, v1alpha1.ReasonRequestRejected)
	if !strings.Contains(message, "unknown authority") {
		t.Errorf("the message does not name the authority: %s", message)
	}

	edit(w, resource, func(s *v1alpha1.KeycardResourceSpec) {
		s.Zone.CABundle = &v1alpha1.CABundleSource{ConfigMapKeyRef: &v1alpha1.ConfigMapKeyReference{Name: "ca", Key: "ca.crt"}}
	})
	w.Expect(resource, v1alpha1.ConditionCredentialsValid, metav1.ConditionFalse, v1alpha1.ReasonCABundleInvalid)
	w.Absent(resource, v1alpha1.ConditionStalled)
	bundle := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: "ca"}, Data: map[string]string{"ca.crt": "not a certificate"}}
	must.Succeed(t, w.K8s.Create(w.Ctx, bundle))
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonCABundleInvalid)
	bundle.Data["ca.crt"] = ca
	must.Succeed(t, w.K8s.Update(w.Ctx, bundle))
	w.ReconcileResource(resource)
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

	must.Succeed(t, w.K8s.Create(w.Ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: "ca"}, Data: map[string][]byte{"tls.crt": []byte(ca)}}))
	edit(w, resource, func(s *v1alpha1.KeycardResourceSpec) {
		s.Zone.CABundle = &v1alpha1.CABundleSource{SecretKeyRef: &v1alpha1.SecretKeyReference{Name: "ca", Key: "tls.crt"}}
	})
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if _, err := os.Stat(filepath.Join(dir, "tls")); err != nil {
		t.Error(err)
	}
}

// A thousand looks at a healthy install write nothing, to the zone or to the cluster.
func TestSteadyState(t *testing.T) {
	w := world.New(t)
	resource, _ := w.Ready()
	application(w, "urn:app:wiki")
	binding := w.Binding("workload")
	binding.Spec.Application = v1alpha1.Application{ServiceAccountName: "wiki"}
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	edit(w, resource, func(s *v1alpha1.KeycardResourceSpec) {
		s.Applications = []v1alpha1.ApplicationReference{{Identifier: "urn:app:wiki"}}
		s.Policies = []v1alpha1.AccessPolicy{{Name: "all", Cedar: permitAll}}
		s.WorkloadRegistration = &v1alpha1.WorkloadRegistration{}
		s.DeletionPolicy = v1alpha1.DeletionDelete
	})
	w.Expect(resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.Requests.Take()
	w.Writes.Take()
	w.Events.Take()
	for range 1000 {
		w.Clock.Step(w.ReconcileResource(resource).RequeueAfter)
	}
	if r := remoteWrites(w.Requests.Take()); len(r) > 0 {
		t.Errorf("wrote to the zone: %v", r)
	}
	if r := w.Writes.Take(); len(r) > 0 {
		t.Errorf("wrote to the cluster: %v", r)
	}
	if e := w.Events.Take(); len(e) > 0 {
		t.Errorf("recorded %v", e)
	}
}
