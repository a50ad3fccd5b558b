// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/broker"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// The main job: two objects, and a Secret whose token reads Confluence pages.
func TestTokenReadsPages(t *testing.T) {
	w := world.New(t)
	_, binding := w.Ready()
	w.Absent(binding, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled)
	secret := w.Output(binding)

	if !metav1.IsControlledBy(secret, binding) || secret.Labels[v1alpha1.ManagedByLabel] != v1alpha1.ManagedByValue {
		t.Errorf("the Secret is not marked as the binding's: %v %v", secret.OwnerReferences, secret.Labels)
	}
	if titles := w.Pages(secret); len(titles) == 0 {
		t.Error("the token lists no pages")
	}
	if got := string(secret.Data["base_url"]); got != w.Zone.AtlassianURL+"/ex/confluence/"+binding.Status.Site.CloudID {
		t.Errorf("base_url is %s", got)
	}
	if binding.Status.Site.URL != world.Site {
		t.Errorf("site is %s", binding.Status.Site.URL)
	}
	if left := binding.Status.ExpiresAt.Sub(w.Clock.Now()); left != time.Hour {
		t.Errorf("expires in %s", left)
	}
}

// A rotation is one exchange, one apply of the Secret and one patch of the status: no more, no less.
func TestRotationTakesTwoWrites(t *testing.T) {
	w := world.New(t)
	_, binding := w.Ready()
	for cycle := range 3 {
		before := w.Output(binding)
		w.Clock.SetTime(binding.Status.RefreshAt.Time)
		w.Requests.Take()
		w.Writes.Take()
		w.Events.Take()

		w.ReconcileBinding(binding)

		writes := w.Writes.Take()
		want := []string{
			"PATCH /api/v1/namespaces/" + w.NS + "/secrets/reports-token",
			"PATCH /apis/keycard.cloud/v1alpha1/namespaces/" + w.NS + "/confluencetokenbindings/reports/status",
		}
		if !slices.Equal(writes, want) {
			t.Errorf("cycle %d wrote %v, want %v", cycle, writes, want)
		}
		if n := w.Requests.Count(world.Exchanges); n != 1 {
			t.Errorf("cycle %d made %d exchanges", cycle, n)
		}
		if n := w.Requests.Count("accessible-resources"); n != 0 {
			t.Errorf("cycle %d asked for the site %d times", cycle, n)
		}
		if e := w.Events.Take(); len(e) > 0 {
			t.Errorf("cycle %d recorded events %v", cycle, e)
		}
		after := w.Output(binding)
		if bytes.Equal(before.Data["token"], after.Data["token"]) {
			t.Errorf("cycle %d left the token", cycle)
		}
		w.Pages(after)
	}
}

// A reconcile that finds nothing to do asks and writes nothing, whatever made it run.
func TestIdleReconcilesDoNothing(t *testing.T) {
	w := world.New(t)
	_, binding := w.Ready()
	tests := map[string]func(){
		"nothing happened": func() {},
		"restart":          w.Connect,
		"labels and annotations of the binding": func() {
			binding.Labels = map[string]string{"app.kubernetes.io/instance": "argo"}
			binding.Annotations = map[string]string{"argocd.argoproj.io/tracking-id": "x"}
			must.Succeed(t, w.K8s.Update(w.Ctx, binding))
		},
		"labels of the Secret": func() {
			s := w.Output(binding)
			s.Labels["somebody"] = "else"
			must.Succeed(t, w.K8s.Update(w.Ctx, s))
		},
		"half an hour": func() { w.Clock.SetTime(binding.Status.RefreshAt.Add(-time.Second)) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			change()
			w.Requests.Take()
			w.Writes.Take()
			w.ReconcileBinding(binding)
			if r := w.Requests.Take(); len(r) > 0 {
				t.Errorf("asked the zone: %v", r)
			}
			if r := w.Writes.Take(); len(r) > 0 {
				t.Errorf("wrote: %v", r)
			}
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		})
	}
}

// Another layout is written from the same token; another spec takes another token.
func TestSpecChanges(t *testing.T) {
	w := world.New(t)
	_, binding := w.Ready()
	before := w.Output(binding)

	binding.Spec.Secret.Formats = []v1alpha1.Format{v1alpha1.FormatHeader, v1alpha1.FormatEnv}
	binding.Spec.Secret.Labels = map[string]v1alpha1.LabelValue{"example.com/team": "reports"}
	must.Succeed(t, w.K8s.Update(w.Ctx, binding))
	w.Requests.Take()
	w.ReconcileBinding(binding)
	if r := w.Requests.Take(); len(r) > 0 {
		t.Errorf("a change of the layout asked the zone: %v", r)
	}
	after := w.Output(binding)
	token := string(after.Data["token"])
	if token != string(before.Data["token"]) || string(after.Data["authorization"]) != "Bearer "+token || after.Labels["example.com/team"] != "reports" {
		t.Errorf("the layout was not changed: %v %v", world.Keys(after), after.Labels)
	}

	binding.Spec.Secret.Formats = nil
	binding.Spec.Secret.Labels = nil
	must.Succeed(t, w.K8s.Update(w.Ctx, binding))
	w.ReconcileBinding(binding)
	if after = w.Output(binding); after.Data["authorization"] != nil || after.Labels["example.com/team"] != "" {
		t.Errorf("the layout was not changed back: %v %v", world.Keys(after), after.Labels)
	}

	binding.Spec.Scopes = []v1alpha1.Scope{"write:confluence-content"}
	must.Succeed(t, w.K8s.Update(w.Ctx, binding))
	w.ReconcileBinding(binding)
	if n := w.Requests.Count(world.Exchanges); n != 1 {
		t.Errorf("other scopes made %d exchanges", n)
	}
	if after = w.Output(binding); string(after.Data["token"]) == token {
		t.Error("other scopes left the token")
	}
}

// Somebody else's Secret is left alone, and nothing is exchanged for it.
func TestForeignSecretIsRefused(t *testing.T) {
	w := world.New(t)
	resource, binding := w.Install(), w.Binding("reports")
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: "reports-token"}, Data: map[string][]byte{"token": []byte("theirs")}}
	for _, o := range []client.Object{foreign, resource, binding} {
		must.Succeed(t, w.K8s.Create(w.Ctx, o))
	}
	w.ReconcileResource(resource)
	for range 3 {
		result := w.ReconcileBinding(binding)
		if result.RequeueAfter != 0 {
			t.Errorf("tries again after %s, though a watch reports the end of it", result.RequeueAfter)
		}
	}
	message := w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	w.Expect(binding, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
	if !strings.Contains(message, "reports-token") {
		t.Errorf("the message does not name the Secret: %s", message)
	}
	if n := w.Requests.Count(world.Exchanges); n != 0 {
		t.Errorf("%d exchanges were wasted", n)
	}
	if s := w.Output(binding); string(s.Data["token"]) != "theirs" || len(s.OwnerReferences) > 0 {
		t.Errorf("the foreign Secret was changed: %v", s)
	}
	must.Succeed(t, w.K8s.Delete(w.Ctx, foreign))
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.Absent(binding, v1alpha1.ConditionStalled)
}

// Of two bindings with one Secret, the second says that it belongs to the first.
func TestTwoBindingsOneSecret(t *testing.T) {
	w := world.New(t)
	_, first := w.Ready()
	second := w.Binding("second")
	second.Spec.Secret.Name = first.Spec.Secret.Name
	must.Succeed(t, w.K8s.Create(w.Ctx, second))
	w.ReconcileBinding(second)
	message := w.Expect(second, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	if !strings.Contains(message, "ConfluenceTokenBinding reports") {
		t.Errorf("the message does not name the owner: %s", message)
	}
}

// A Secret that somebody deleted or changed is repaired.
func TestTamperingIsRepaired(t *testing.T) {
	w := world.New(t)
	_, binding := w.Ready()
	tests := map[string]func(*corev1.Secret){
		"the token is overwritten": func(s *corev1.Secret) {
			s.Data["token"] = []byte("tampered")
			must.Succeed(t, w.K8s.Update(w.Ctx, s))
		},
		"a key is removed": func(s *corev1.Secret) {
			delete(s.Data, "token.json")
			must.Succeed(t, w.K8s.Update(w.Ctx, s))
		},
		"the expiry is moved": func(s *corev1.Secret) {
			s.Annotations[v1alpha1.ExpiresAtAnnotation] = "2099-01-01T00:00:00Z"
			must.Succeed(t, w.K8s.Update(w.Ctx, s))
		},
		"the bookkeeping is removed": func(s *corev1.Secret) {
			s.Annotations = nil
			must.Succeed(t, w.K8s.Update(w.Ctx, s))
		},
		"it is deleted": func(s *corev1.Secret) { must.Succeed(t, w.K8s.Delete(w.Ctx, s)) },
	}
	for name, tamper := range tests {
		t.Run(name, func(t *testing.T) {
			w.Clock.Step(refresh.MinInterval)
			w.Requests.Take()
			tamper(w.Output(binding))
			w.ReconcileBinding(binding)
			if n := w.Requests.Count(world.Exchanges); n != 1 {
				t.Errorf("%d exchanges", n)
			}
			w.Pages(w.Output(binding))
			w.Writes.Take()
			w.ReconcileBinding(binding)
			if r := w.Writes.Take(); len(r) > 0 {
				t.Errorf("repaired again: %v", r)
			}
		})
	}
}

// A program that keeps changing the Secret does not turn into a stream of exchanges.
func TestTamperingIsBounded(t *testing.T) {
	w := world.New(t)
	_, binding := w.Ready()
	w.Requests.Take()
	for range 10 {
		s := w.Output(binding)
		s.Data["token"] = []byte("tampered")
		must.Succeed(t, w.K8s.Update(w.Ctx, s))
		w.ReconcileBinding(binding)
	}
	if n := w.Requests.Count(world.Exchanges); n > 4 {
		t.Errorf("ten changes in a moment led to %d exchanges", n)
	}
	message := w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonThrottled)
	if !strings.Contains(message, "reports-token") {
		t.Errorf("the message does not name the Secret: %s", message)
	}
	w.Clock.Step(time.Minute)
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// An edit that can't be served yet is not called ready, although the old token still works; with the spec as
// it was, the token goes on.
func TestReadyIsForThisSpec(t *testing.T) {
	w := world.New(t)
	resource, binding := w.Ready()
	must.Succeed(t, w.K8s.Delete(w.Ctx, resource))
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.Expect(binding, v1alpha1.ConditionResourceReady, metav1.ConditionFalse, v1alpha1.ReasonResourceNotFound)
	binding.Spec.Subject.User = "bob@example.com"
	must.Succeed(t, w.K8s.Update(w.Ctx, binding))
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonResourceNotFound)
}

// A token that was issued is not exchanged for again when Atlassian fails after it.
func TestIssuedTokenIsKept(t *testing.T) {
	w := world.New(t)
	resource, binding := w.Install(), w.Binding("reports")
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	w.ReconcileResource(resource)
	undo := w.Inject("accessible-resources", world.ReplyJSON(503, `{}`))
	for range 5 {
		w.Clock.Step(w.ReconcileBinding(binding).RequeueAfter)
	}
	undo()
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if n := w.Requests.Count(world.Exchanges); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

// A token that waits for its site is taken up also when no other might be issued yet.
func TestIssuedTokenIsNotThrottled(t *testing.T) {
	w := world.New(t)
	_, binding := w.Ready()
	undo := func() {}
	for made := 1; made < 4; made++ { // as many as may be issued in a row
		if made == 3 {
			undo = w.Inject("accessible-resources", world.ReplyJSON(503, `{}`))
		}
		must.Succeed(t, w.K8s.Delete(w.Ctx, w.Output(binding)))
		w.ReconcileBinding(binding)
	}
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAtlassianUnreachable)
	undo()
	w.Clock.Step(w.ReconcileBinding(binding).RequeueAfter)
	if n := w.ExchangesOf(binding, 2); n != 0 {
		t.Errorf("%d exchanges for a token that was there", n)
	}
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// A write of the status that is lost costs no exchange: what the schedule remembers is in the Secret.
func TestLostStatusIsDerivedFromTheSecret(t *testing.T) {
	w := world.New(t)
	_, binding := w.Ready()
	want := binding.Status.DeepCopy()
	binding.Status = v1alpha1.ConfluenceTokenBindingStatus{}
	must.Succeed(t, w.K8s.Status().Update(w.Ctx, binding))
	w.Connect()
	w.Requests.Take()
	w.ReconcileBinding(binding)
	if r := w.Requests.Take(); len(r) > 0 {
		t.Errorf("asked the zone: %v", r)
	}
	if !binding.Status.ExpiresAt.Equal(want.ExpiresAt) || !binding.Status.RefreshAt.Equal(want.RefreshAt) || *binding.Status.Site != *want.Site {
		t.Errorf("status is %+v, was %+v", binding.Status, want)
	}
}

// A zone that hands out the same token again causes neither writes nor a hot loop, and the next token is
// taken when there is one.
func TestTokenThatDoesNotAdvance(t *testing.T) {
	w := world.New(t)
	_, binding := w.Ready()
	expires := binding.Status.ExpiresAt.Time
	token := w.Output(binding).Data["token"]
	undo := w.Requests.Answer(world.Exchanges, func(rw http.ResponseWriter, _ *http.Request) {
		left := max(int(expires.Sub(w.Clock.Now()).Seconds()), 1)
		world.WriteJSON(rw, fmt.Sprintf(world.Token200, token, fmt.Sprint(left)))
	})
	w.Clock.SetTime(binding.Status.RefreshAt.Time)
	w.Requests.Take()
	w.Writes.Take()
	for w.Clock.Now().Before(expires) {
		result := w.ReconcileBinding(binding)
		w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		if result.RequeueAfter <= 0 {
			t.Fatal("never comes back")
		}
		if w.Bindings.Overdue(binding, w.Clock.Now()) {
			t.Error("it counts as overdue, and the zone was asked")
		}
		w.Clock.Step(result.RequeueAfter)
	}
	if n := w.Requests.Count(world.Exchanges); n < 2 || n > 20 {
		t.Errorf("asked %d times in the last third of an hour", n)
	}
	if writes := w.Writes.Take(); len(writes) > 0 {
		t.Errorf("the same token was written: %v", writes)
	}
	undo()
	w.Clock.Step(refresh.MinInterval)
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.Pages(w.Output(binding))
}

// While the zone has nothing newer, a Secret that is deleted comes back at once, and another layout is written.
func TestPauseDoesNotBlockRepair(t *testing.T) {
	w := world.New(t, func(c *devzone.Config) { c.UpstreamTokens = broker.Cached })
	_, binding := w.Ready()
	w.Clock.SetTime(binding.Status.RefreshAt.Time)
	w.Writes.Take()
	w.ReconcileBinding(binding)
	if writes := w.Writes.Take(); len(writes) > 0 {
		t.Fatalf("the zone had a newer token: %v", writes)
	}
	binding.Spec.Secret.Formats = []v1alpha1.Format{v1alpha1.FormatHeader}
	must.Succeed(t, w.K8s.Update(w.Ctx, binding))
	w.ReconcileBinding(binding)
	if w.Output(binding).Data["header"] == nil {
		t.Error("another layout waits for the next token")
	}
	must.Succeed(t, w.K8s.Delete(w.Ctx, w.Output(binding)))
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.Pages(w.Output(binding))
}

// The zone's unknown habits: a cached upstream token, an upstream refresh that ends the token before it,
// and no expires_in.
func TestZoneHabits(t *testing.T) {
	tests := map[string]struct {
		change func(*devzone.Config)
		issued string // reason of TokenIssued
	}{
		"refreshes at every exchange": {func(*devzone.Config) {}, v1alpha1.ReasonIssued},
		"hands out a cached token":    {func(c *devzone.Config) { c.UpstreamTokens = broker.Cached }, v1alpha1.ReasonIssued},
		"ends the previous token":     {func(c *devzone.Config) { c.AtlassianRefresh = devzone.Invalidate }, v1alpha1.ReasonIssued},
		"announces no lifetime":       {func(c *devzone.Config) { c.OmitExpiresIn = true }, v1alpha1.ReasonLifetimeUnknown},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := world.New(t, tc.change)
			_, binding := w.Ready()
			w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, tc.issued)
			end := w.Clock.Now().Add(3 * time.Hour)
			for w.Clock.Now().Before(end) {
				result := w.ReconcileBinding(binding)
				w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
				w.Pages(w.Output(binding))
				if result.RequeueAfter < 10*time.Second {
					t.Fatalf("comes back after %s", result.RequeueAfter)
				}
				w.Clock.Step(result.RequeueAfter)
			}
			// An hour's token in three hours: about five exchanges; five minutes' (the assumed life): about 75.
			most := 30
			if tc.issued == v1alpha1.ReasonLifetimeUnknown {
				most = 110
			}
			if n := w.Requests.Count(world.Exchanges); n > most {
				t.Errorf("%d exchanges in three hours", n)
			}
		})
	}
}

// What keeps a layout from being followed is tried again after seconds, however long the next token may take.
func TestLayoutIsRetriedWhileTheRefreshFails(t *testing.T) {
	w := world.New(t)
	_, binding := w.Ready()
	w.Clock.SetTime(binding.Status.RefreshAt.Time)
	defer w.Refused("access_denied", "Access denied by policy.")() // which is tried again after ten minutes
	w.ReconcileBinding(binding)
	binding.Spec.Secret.Formats = []v1alpha1.Format{v1alpha1.FormatHeader}
	must.Succeed(t, w.K8s.Update(w.Ctx, binding))
	undo := w.WithoutPermission()
	w.Writes.Take()
	wait := w.ReconcileBinding(binding).RequeueAfter
	message := w.Expect(binding, v1alpha1.ConditionSecretSynced, metav1.ConditionFalse, v1alpha1.ReasonSecretWriteFailed)
	w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	if !strings.Contains(message, "reports-token") || wait < time.Second || wait > 10*time.Second {
		t.Errorf("in %s it tries again after: %s", wait, message)
	}
	w.ReconcileBinding(binding)
	if n := w.Writes.Count("/secrets/"); n != 1 {
		t.Errorf("an event led to %d writes", n)
	}
	w.Clock.Step(wait)
	next := w.ReconcileBinding(binding).RequeueAfter
	if next <= wait {
		t.Errorf("the wait after %s was %s", wait, next)
	}
	undo()
	w.Clock.Step(next)
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionSecretSynced, metav1.ConditionTrue, v1alpha1.ReasonSynced)
	if w.Output(binding).Data["header"] == nil {
		t.Error("the Secret was not laid out anew")
	}
}

// The files follow the spec while the zone is down: the token that is there is laid out again, once.
func TestLayoutFollowsWhileTheRefreshFails(t *testing.T) {
	w := world.New(t)
	_, binding := w.Ready()
	w.Clock.SetTime(binding.Status.RefreshAt.Time)
	undo := w.Requests.Answer(world.Exchanges, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	before := w.Output(binding)
	binding.Spec.Secret.Formats = []v1alpha1.Format{v1alpha1.FormatHeader}
	must.Succeed(t, w.K8s.Update(w.Ctx, binding))
	for range 3 {
		w.Clock.Step(w.ReconcileBinding(binding).RequeueAfter)
	}
	after := w.Output(binding)
	if !bytes.Equal(after.Data["token"], before.Data["token"]) || after.Data["header"] == nil {
		t.Errorf("the keys are %v", slices.Sorted(maps.Keys(after.Data)))
	}
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	version := after.ResourceVersion
	w.ReconcileBinding(binding)
	if got := w.Output(binding).ResourceVersion; got != version {
		t.Error("it is written again")
	}
	undo()
	w.Clock.Step(w.ReconcileBinding(binding).RequeueAfter)
	w.ReconcileBinding(binding)
	if got := w.Output(binding).Data["header"]; bytes.Equal(got, after.Data["header"]) {
		t.Error("the next token is not in the file")
	}
}
