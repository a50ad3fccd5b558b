// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// life is two installs of one zone, to which everything happens in random order.
type life struct {
	*world.World
	rnd  *rand.Rand
	undo func()
	// mayLeave are the installs that were deleted at least once with Retain: what they left is not ours to count.
	mayLeave map[string]bool
	trace    []string
}

var lifeEntries = []string{"confluence", "jira"}

// TestRandomLives takes hundreds of random steps, and in the end zone and cluster agree.
func TestRandomLives(t *testing.T) {
	const steps = 250
	for _, seed := range []uint64{1, 2, 3, uint64(time.Now().UnixNano())} {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			l := &life{World: world.New(t), rnd: rand.New(rand.NewPCG(seed, 0)), undo: func() {}, mayLeave: map[string]bool{}}
			application(l.World, "urn:app:wiki")
			application(l.World, "urn:app:search")
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("seed %d: %s", seed, strings.Join(l.trace, ", "))
				}
			})
			for range steps {
				l.step()
			}
			l.settle()
			l.agree()
		})
	}
}

// step does one of the things that happen.
func (l *life) step() {
	things := []struct {
		name string
		do   func(entry string)
	}{
		{"create", l.create},
		{"create", l.create},
		{"reconcile", l.look},
		{"reconcile", l.look},
		{"reconcile", l.look},
		{"edit", l.editSpec},
		{"edit", l.editSpec},
		{"rotate", l.rotate},
		{"drift", l.drift},
		{"vanish", l.vanish},
		{"fault", l.fault},
		{"heal", func(string) { l.undo() }},
		{"restart", func(string) { l.Connect() }},
		{"delete", l.remove},
		{"wait", func(string) { l.Clock.Step(time.Duration(l.rnd.IntN(900)) * time.Second) }},
	}
	thing, entry := things[l.rnd.IntN(len(things))], lifeEntries[l.rnd.IntN(len(lifeEntries))]
	l.trace = append(l.trace, thing.name+" "+entry)
	thing.do(entry)
}

func (l *life) get(entry string) (*v1alpha1.KeycardResource, bool) {
	l.T.Helper()
	var r v1alpha1.KeycardResource
	err := l.K8s.Get(l.Ctx, client.ObjectKey{Namespace: l.NS, Name: entry}, &r)
	must.Succeed(l.T, client.IgnoreNotFound(err))
	return &r, err == nil
}

func (l *life) create(entry string) {
	r := l.Install()
	r.Name, r.Spec.CatalogEntry, r.Spec.DeletionPolicy = entry, entry, v1alpha1.DeletionDelete
	err := l.K8s.Create(l.Ctx, r)
	if !apierrors.IsAlreadyExists(err) {
		must.Succeed(l.T, err)
	}
}

// look is a reconcile as the queue would have it. It never fails, whatever the zone does.
func (l *life) look(entry string) {
	_, err := l.Resources.Reconcile(l.Ctx, ctrl.Request{NamespacedName: client.ObjectKey{Namespace: l.NS, Name: entry}})
	if err != nil && !apierrors.IsConflict(err) {
		l.T.Fatalf("reconciling %s: %v", entry, err)
	}
}

func (l *life) editSpec(entry string) {
	r, there := l.get(entry)
	if !there || !r.DeletionTimestamp.IsZero() {
		return
	}
	maybe := func() bool { return l.rnd.IntN(2) == 0 }
	r.Spec.Applications, r.Spec.Policies, r.Spec.Scopes = nil, nil, nil
	for _, id := range []string{"urn:app:wiki", "urn:app:search"} {
		if maybe() {
			r.Spec.Applications = append(r.Spec.Applications, v1alpha1.ApplicationReference{Identifier: id})
		}
	}
	for _, p := range []v1alpha1.AccessPolicy{{Name: "all", Cedar: permitAll}, {Name: "not-alice", Cedar: forbidAlice}} {
		if maybe() {
			r.Spec.Policies = append(r.Spec.Policies, p)
		}
	}
	if maybe() && entry == "confluence" {
		r.Spec.Scopes = &v1alpha1.ScopeSelection{Add: []v1alpha1.Scope{"search:confluence"}}
	}
	r.Spec.DeletionPolicy = v1alpha1.DeletionRetain
	if maybe() {
		r.Spec.DeletionPolicy = v1alpha1.DeletionDelete
	}
	must.Succeed(l.T, l.K8s.Update(l.Ctx, r))
}

func (l *life) rotate(string) {
	var s corev1.Secret
	must.Succeed(l.T, l.K8s.Get(l.Ctx, client.ObjectKey{Namespace: l.NS, Name: "oauth-app"}, &s))
	s.Data[v1alpha1.ClientSecretKey] = fmt.Appendf(nil, "secret-%d", l.rnd.IntN(1000))
	must.Succeed(l.T, l.K8s.Update(l.Ctx, &s))
}

// drift changes what is in the zone by hand.
func (l *life) drift(entry string) {
	admin := l.healthy()
	if r, found, err := admin.FindResource(l.Ctx, l.Zone.ZoneID, "https://api.atlassian.com/ex/"+entry); err == nil && found {
		_, err := admin.PatchResource(l.Ctx, l.Zone.ZoneID, r.ID, keycard.ResourcePatch{Name: keycard.Set("drifted"), Scopes: keycard.Set([]string{"x"})})
		must.Succeed(l.T, err)
	}
	if p, found, err := admin.FindProvider(l.Ctx, l.Zone.ZoneID, world.ProviderIdentifier); err == nil && found {
		_, err := admin.PatchProvider(l.Ctx, l.Zone.ZoneID, p.ID, keycard.ProviderPatch{Name: keycard.Set("drifted")})
		must.Succeed(l.T, err)
	}
}

// vanish deletes the resource in the zone by hand.
func (l *life) vanish(entry string) {
	admin := l.healthy()
	if r, found, err := admin.FindResource(l.Ctx, l.Zone.ZoneID, "https://api.atlassian.com/ex/"+entry); err == nil && found {
		must.Succeed(l.T, admin.DeleteResource(l.Ctx, l.Zone.ZoneID, r.ID))
	}
}

// healthy is the admin's client, whom no fault is meant for.
func (l *life) healthy() *keycard.ManagementClient {
	l.undo()
	return l.Admin()
}

// fault makes the management API fail in one way until it heals.
func (l *life) fault(string) {
	on := []string{"api GET", "api POST /zones", "api PATCH", "api PUT", "api DELETE", "api POST /service-account-token", "/policy-sets", "/applications"}[l.rnd.IntN(8)]
	status := []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}[l.rnd.IntN(5)]
	l.undo()
	if l.rnd.IntN(2) == 0 {
		l.undo = l.Requests.Answer(on, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		return
	}
	// The request is carried out, and the answer is lost.
	l.Requests.Mu.Lock()
	l.Requests.Lose = on
	l.Requests.Mu.Unlock()
	l.undo = func() {
		l.Requests.Mu.Lock()
		l.Requests.Lose = ""
		l.Requests.Mu.Unlock()
	}
}

func (l *life) remove(entry string) {
	r, there := l.get(entry)
	if !there {
		return
	}
	if r.Spec.DeletionPolicy != v1alpha1.DeletionDelete || len(r.Finalizers) == 0 {
		l.mayLeave[entry] = true
	}
	must.Succeed(l.T, l.K8s.Delete(l.Ctx, r))
}

// settle lets everything heal, and reconciles until each install is Ready or gone.
func (l *life) settle() {
	l.undo()
	for range 60 {
		settled := true
		for _, entry := range lifeEntries {
			l.look(entry)
			r, there := l.get(entry)
			if there && (!r.DeletionTimestamp.IsZero() || !meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionReady) || r.Status.ObservedGeneration != r.Generation) {
				settled = false
			}
		}
		if settled {
			break
		}
		l.Clock.Step(time.Minute)
	}
	for range 2 { // an install takes over what another left when it looks next
		for _, entry := range lifeEntries {
			l.look(entry)
		}
	}
}

// agree checks that the zone has what the cluster says, once, and nothing else of ours.
func (l *life) agree() {
	l.T.Helper()
	admin := l.Admin()
	anyone := false
	for _, entry := range lifeEntries {
		r, there := l.get(entry)
		remote, found, err := admin.FindResource(l.Ctx, l.Zone.ZoneID, "https://api.atlassian.com/ex/"+entry)
		must.Succeed(l.T, err)
		if !there {
			if found && !l.mayLeave[entry] {
				l.T.Errorf("%s is gone, and its resource is left", entry)
			}
			continue
		}
		anyone = true
		if !meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionReady) {
			l.T.Errorf("%s is not Ready: %s", entry, world.Describe(r.Status.Conditions))
			continue
		}
		if !found || remote.Name == "drifted" || remote.ID != r.Status.ResourceID || len(remote.Scopes) != len(r.Status.Scopes)+1 || remote.CredentialProviderID != r.Status.ProviderID {
			l.T.Errorf("%s is %+v in the zone, status says %+v", entry, remote, r.Status)
		}
		l.agreeOnApplications(r)
		l.agreeOnPolicies(r)
	}
	provider, found, err := admin.FindProvider(l.Ctx, l.Zone.ZoneID, world.ProviderIdentifier)
	must.Succeed(l.T, err)
	if anyone && (!found || provider.Name == "drifted") {
		l.T.Errorf("the provider is there: %v, %+v", found, provider)
	}
	if !anyone && found && len(l.mayLeave) == 0 {
		l.T.Error("nothing is installed, and the provider is left")
	}
}

func (l *life) agreeOnApplications(r *v1alpha1.KeycardResource) {
	l.T.Helper()
	for _, id := range []string{"urn:app:wiki", "urn:app:search"} {
		app, _, err := l.Admin().FindApplication(l.Ctx, l.Zone.ZoneID, id)
		must.Succeed(l.T, err)
		wanted := false
		for _, a := range r.Spec.Applications {
			wanted = wanted || a.Identifier == id
		}
		// What an install that was deleted with Retain gave stays given.
		if got := depends(l.World, app.ID, r); got != wanted && (wanted || !l.mayLeave[r.Name]) {
			l.T.Errorf("%s depends on %s: %v, want %v", id, r.Name, got, wanted)
		}
	}
}

func (l *life) agreeOnPolicies(r *v1alpha1.KeycardResource) {
	l.T.Helper()
	admin := l.Admin()
	sets, err := admin.ListPolicySets(l.Ctx, l.Zone.ZoneID, func(p keycard.PolicySet) bool { return p.Active })
	must.Succeed(l.T, err)
	version, err := admin.GetPolicySetVersion(l.Ctx, l.Zone.ZoneID, sets[0].ID, sets[0].ActiveVersionID)
	must.Succeed(l.T, err)
	active := map[string]int{}
	for _, e := range version.Manifest.Entries {
		active[e.PolicyVersionID]++
	}
	if len(r.Status.Policies) != len(r.Spec.Policies) {
		l.T.Errorf("%s has %d policies, status %d", r.Name, len(r.Spec.Policies), len(r.Status.Policies))
	}
	for _, p := range r.Status.Policies {
		if active[p.VersionID] != 1 {
			l.T.Errorf("policy %s of %s is %d times in force", p.Name, r.Name, active[p.VersionID])
		}
	}
}
