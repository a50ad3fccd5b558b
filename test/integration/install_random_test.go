// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

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
)

// life is two installs of one zone, to which everything happens in random order.
type life struct {
	*world
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
			t.Parallel()
			l := &life{world: newWorld(t), rnd: rand.New(rand.NewPCG(seed, 0)), undo: func() {}, mayLeave: map[string]bool{}}
			l.application("urn:app:wiki")
			l.application("urn:app:search")
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
		{"restart", func(string) { l.connect() }},
		{"delete", l.remove},
		{"wait", func(string) { l.clock.Step(time.Duration(l.rnd.IntN(900)) * time.Second) }},
	}
	thing, entry := things[l.rnd.IntN(len(things))], lifeEntries[l.rnd.IntN(len(lifeEntries))]
	l.trace = append(l.trace, thing.name+" "+entry)
	thing.do(entry)
}

func (l *life) get(entry string) (*v1alpha1.KeycardResource, bool) {
	l.t.Helper()
	var r v1alpha1.KeycardResource
	err := l.k8s.Get(l.ctx, client.ObjectKey{Namespace: l.ns, Name: entry}, &r)
	must(l.t, client.IgnoreNotFound(err))
	return &r, err == nil
}

func (l *life) create(entry string) {
	r := l.install()
	r.Name, r.Spec.CatalogEntry, r.Spec.DeletionPolicy = entry, entry, v1alpha1.DeletionDelete
	err := l.k8s.Create(l.ctx, r)
	if !apierrors.IsAlreadyExists(err) {
		must(l.t, err)
	}
}

// look is a reconcile as the queue would have it. It never fails, whatever the zone does.
func (l *life) look(entry string) {
	_, err := l.resources.Reconcile(l.ctx, ctrl.Request{NamespacedName: client.ObjectKey{Namespace: l.ns, Name: entry}})
	if err != nil && !apierrors.IsConflict(err) {
		l.t.Fatalf("reconciling %s: %v", entry, err)
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
	must(l.t, l.k8s.Update(l.ctx, r))
}

func (l *life) rotate(string) {
	var s corev1.Secret
	must(l.t, l.k8s.Get(l.ctx, client.ObjectKey{Namespace: l.ns, Name: "oauth-app"}, &s))
	s.Data[v1alpha1.ClientSecretKey] = fmt.Appendf(nil, "secret-%d", l.rnd.IntN(1000))
	must(l.t, l.k8s.Update(l.ctx, &s))
}

// drift changes what is in the zone by hand.
func (l *life) drift(entry string) {
	admin := l.healthy()
	if r, found, err := admin.FindResource(l.ctx, l.zone.ZoneID, "https://api.atlassian.com/ex/"+entry); err == nil && found {
		_, err := admin.PatchResource(l.ctx, l.zone.ZoneID, r.ID, keycard.ResourcePatch{Name: keycard.Set("drifted"), Scopes: keycard.Set([]string{"x"})})
		must(l.t, err)
	}
	if p, found, err := admin.FindProvider(l.ctx, l.zone.ZoneID, providerIdentifier); err == nil && found {
		_, err := admin.PatchProvider(l.ctx, l.zone.ZoneID, p.ID, keycard.ProviderPatch{Name: keycard.Set("drifted")})
		must(l.t, err)
	}
}

// vanish deletes the resource in the zone by hand.
func (l *life) vanish(entry string) {
	admin := l.healthy()
	if r, found, err := admin.FindResource(l.ctx, l.zone.ZoneID, "https://api.atlassian.com/ex/"+entry); err == nil && found {
		must(l.t, admin.DeleteResource(l.ctx, l.zone.ZoneID, r.ID))
	}
}

// healthy is the admin's client, whom no fault is meant for.
func (l *life) healthy() *keycard.ManagementClient {
	l.undo()
	return l.admin()
}

// fault makes the management API fail in one way until it heals.
func (l *life) fault(string) {
	on := []string{"api GET", "api POST /zones", "api PATCH", "api PUT", "api DELETE", "api POST /service-account-token", "/policy-sets", "/applications"}[l.rnd.IntN(8)]
	status := []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}[l.rnd.IntN(5)]
	l.undo()
	if l.rnd.IntN(2) == 0 {
		l.undo = l.requests.answer(on, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		return
	}
	// The request is carried out, and the answer is lost.
	l.requests.mu.Lock()
	l.requests.lose = on
	l.requests.mu.Unlock()
	l.undo = func() {
		l.requests.mu.Lock()
		l.requests.lose = ""
		l.requests.mu.Unlock()
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
	must(l.t, l.k8s.Delete(l.ctx, r))
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
		l.clock.Step(time.Minute)
	}
	for range 2 { // an install takes over what another left when it looks next
		for _, entry := range lifeEntries {
			l.look(entry)
		}
	}
}

// agree checks that the zone has what the cluster says, once, and nothing else of ours.
func (l *life) agree() {
	l.t.Helper()
	admin := l.admin()
	anyone := false
	for _, entry := range lifeEntries {
		r, there := l.get(entry)
		remote, found, err := admin.FindResource(l.ctx, l.zone.ZoneID, "https://api.atlassian.com/ex/"+entry)
		must(l.t, err)
		if !there {
			if found && !l.mayLeave[entry] {
				l.t.Errorf("%s is gone, and its resource is left", entry)
			}
			continue
		}
		anyone = true
		if !meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionReady) {
			l.t.Errorf("%s is not Ready: %s", entry, describe(r.Status.Conditions))
			continue
		}
		if !found || remote.Name == "drifted" || remote.ID != r.Status.ResourceID || len(remote.Scopes) != len(r.Status.Scopes)+1 || remote.CredentialProviderID != r.Status.ProviderID {
			l.t.Errorf("%s is %+v in the zone, status says %+v", entry, remote, r.Status)
		}
		l.agreeOnApplications(r)
		l.agreeOnPolicies(r)
	}
	provider, found, err := admin.FindProvider(l.ctx, l.zone.ZoneID, providerIdentifier)
	must(l.t, err)
	if anyone && (!found || provider.Name == "drifted") {
		l.t.Errorf("the provider is there: %v, %+v", found, provider)
	}
	if !anyone && found && len(l.mayLeave) == 0 {
		l.t.Error("nothing is installed, and the provider is left")
	}
}

func (l *life) agreeOnApplications(r *v1alpha1.KeycardResource) {
	l.t.Helper()
	for _, id := range []string{"urn:app:wiki", "urn:app:search"} {
		app, _, err := l.admin().FindApplication(l.ctx, l.zone.ZoneID, id)
		must(l.t, err)
		wanted := false
		for _, a := range r.Spec.Applications {
			wanted = wanted || a.Identifier == id
		}
		// What an install that was deleted with Retain gave stays given.
		if got := l.depends(app.ID, r); got != wanted && (wanted || !l.mayLeave[r.Name]) {
			l.t.Errorf("%s depends on %s: %v, want %v", id, r.Name, got, wanted)
		}
	}
}

func (l *life) agreeOnPolicies(r *v1alpha1.KeycardResource) {
	l.t.Helper()
	admin := l.admin()
	sets, err := admin.ListPolicySets(l.ctx, l.zone.ZoneID, func(p keycard.PolicySet) bool { return p.Active })
	must(l.t, err)
	version, err := admin.GetPolicySetVersion(l.ctx, l.zone.ZoneID, sets[0].ID, sets[0].ActiveVersionID)
	must(l.t, err)
	active := map[string]int{}
	for _, e := range version.Manifest.Entries {
		active[e.PolicyVersionID]++
	}
	if len(r.Status.Policies) != len(r.Spec.Policies) {
		l.t.Errorf("%s has %d policies, status %d", r.Name, len(r.Spec.Policies), len(r.Status.Policies))
	}
	for _, p := range r.Status.Policies {
		if active[p.VersionID] != 1 {
			l.t.Errorf("policy %s of %s is %d times in force", p.Name, r.Name, active[p.VersionID])
		}
	}
}
