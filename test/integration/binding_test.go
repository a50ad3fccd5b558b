// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"encoding/json"
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
)

// The main job: two objects, and a Secret whose token reads Confluence pages.
func TestTokenReadsPages(t *testing.T) {
	w := newWorld(t)
	_, binding := w.ready()
	w.absent(binding, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled)
	secret := w.output(binding)

	if !metav1.IsControlledBy(secret, binding) || secret.Labels[v1alpha1.ManagedByLabel] != v1alpha1.ManagedByValue {
		t.Errorf("the Secret is not marked as the binding's: %v %v", secret.OwnerReferences, secret.Labels)
	}
	if titles := w.pages(secret); len(titles) == 0 {
		t.Error("the token lists no pages")
	}
	if got := string(secret.Data["base_url"]); got != w.zone.AtlassianURL+"/ex/confluence/"+binding.Status.Site.CloudID {
		t.Errorf("base_url is %s", got)
	}
	if binding.Status.Site.URL != site {
		t.Errorf("site is %s", binding.Status.Site.URL)
	}
	if left := binding.Status.ExpiresAt.Sub(w.clock.Now()); left != time.Hour {
		t.Errorf("expires in %s", left)
	}
}

// pages lists the titles that the token in a Secret can read.
func (w *world) pages(secret *corev1.Secret) []string {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, string(secret.Data["base_url"])+"/wiki/api/v2/pages?limit=250", nil)
	must(w.t, err)
	req.Header.Set("Authorization", "Bearer "+string(secret.Data["token"]))
	resp, err := http.DefaultClient.Do(req)
	must(w.t, err)
	defer func() { _ = resp.Body.Close() }()
	var list struct {
		Results []struct {
			Title string `json:"title"`
		} `json:"results"`
	}
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("listing pages: HTTP %d", resp.StatusCode)
	}
	must(w.t, json.NewDecoder(resp.Body).Decode(&list))
	var titles []string
	for _, r := range list.Results {
		titles = append(titles, r.Title)
	}
	return titles
}

// A rotation is one exchange, one apply of the Secret and one patch of the status: no more, no less.
func TestRotationTakesTwoWrites(t *testing.T) {
	w := newWorld(t)
	_, binding := w.ready()
	for cycle := range 3 {
		before := w.output(binding)
		w.clock.SetTime(binding.Status.RefreshAt.Time)
		w.requests.take()
		w.writes.take()
		w.events.take()

		w.reconcileBinding(binding)

		writes := w.writes.take()
		want := []string{
			"PATCH /api/v1/namespaces/" + w.ns + "/secrets/reports-token",
			"PATCH /apis/keycard.cloud/v1alpha1/namespaces/" + w.ns + "/confluencetokenbindings/reports/status",
		}
		if !slices.Equal(writes, want) {
			t.Errorf("cycle %d wrote %v, want %v", cycle, writes, want)
		}
		if n := w.requests.count(exchanges); n != 1 {
			t.Errorf("cycle %d made %d exchanges", cycle, n)
		}
		if n := w.requests.count("accessible-resources"); n != 0 {
			t.Errorf("cycle %d asked for the site %d times", cycle, n)
		}
		if e := w.events.take(); len(e) > 0 {
			t.Errorf("cycle %d recorded events %v", cycle, e)
		}
		after := w.output(binding)
		if bytes.Equal(before.Data["token"], after.Data["token"]) {
			t.Errorf("cycle %d left the token", cycle)
		}
		w.pages(after)
	}
}

// A reconcile that finds nothing to do asks and writes nothing, whatever made it run.
func TestIdleReconcilesDoNothing(t *testing.T) {
	w := newWorld(t)
	_, binding := w.ready()
	tests := map[string]func(){
		"nothing happened": func() {},
		"restart":          w.connect,
		"labels and annotations of the binding": func() {
			binding.Labels = map[string]string{"app.kubernetes.io/instance": "argo"}
			binding.Annotations = map[string]string{"argocd.argoproj.io/tracking-id": "x"}
			must(t, w.k8s.Update(w.ctx, binding))
		},
		"labels of the Secret": func() {
			s := w.output(binding)
			s.Labels["somebody"] = "else"
			must(t, w.k8s.Update(w.ctx, s))
		},
		"half an hour": func() { w.clock.SetTime(binding.Status.RefreshAt.Add(-time.Second)) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			change()
			w.requests.take()
			w.writes.take()
			w.reconcileBinding(binding)
			if r := w.requests.take(); len(r) > 0 {
				t.Errorf("asked the zone: %v", r)
			}
			if r := w.writes.take(); len(r) > 0 {
				t.Errorf("wrote: %v", r)
			}
			w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		})
	}
}

// Another layout is written from the same token; another spec takes another token.
func TestSpecChanges(t *testing.T) {
	w := newWorld(t)
	_, binding := w.ready()
	before := w.output(binding)

	binding.Spec.Secret.Formats = []v1alpha1.Format{v1alpha1.FormatHeader, v1alpha1.FormatEnv}
	binding.Spec.Secret.Labels = map[string]v1alpha1.LabelValue{"example.com/team": "reports"}
	must(t, w.k8s.Update(w.ctx, binding))
	w.requests.take()
	w.reconcileBinding(binding)
	if r := w.requests.take(); len(r) > 0 {
		t.Errorf("a change of the layout asked the zone: %v", r)
	}
	after := w.output(binding)
	token := string(after.Data["token"])
	if token != string(before.Data["token"]) || string(after.Data["authorization"]) != "Bearer "+token || after.Labels["example.com/team"] != "reports" {
		t.Errorf("the layout was not changed: %v %v", keys(after), after.Labels)
	}

	binding.Spec.Secret.Formats = nil
	binding.Spec.Secret.Labels = nil
	must(t, w.k8s.Update(w.ctx, binding))
	w.reconcileBinding(binding)
	if after = w.output(binding); after.Data["authorization"] != nil || after.Labels["example.com/team"] != "" {
		t.Errorf("the layout was not changed back: %v %v", keys(after), after.Labels)
	}

	binding.Spec.Scopes = []v1alpha1.Scope{"write:confluence-content"}
	must(t, w.k8s.Update(w.ctx, binding))
	w.reconcileBinding(binding)
	if n := w.requests.count(exchanges); n != 1 {
		t.Errorf("other scopes made %d exchanges", n)
	}
	if after = w.output(binding); string(after.Data["token"]) == token {
		t.Error("other scopes left the token")
	}
}

func keys(s *corev1.Secret) []string {
	var out []string
	for k := range s.Data {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// Somebody else's Secret is left alone, and nothing is exchanged for it.
func TestForeignSecretIsRefused(t *testing.T) {
	w := newWorld(t)
	resource, binding := w.install(), w.binding("reports")
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "reports-token"}, Data: map[string][]byte{"token": []byte("theirs")}}
	for _, o := range []client.Object{foreign, resource, binding} {
		must(t, w.k8s.Create(w.ctx, o))
	}
	w.reconcileResource(resource)
	for range 3 {
		result := w.reconcileBinding(binding)
		if result.RequeueAfter != 0 {
			t.Errorf("tries again after %s, though a watch reports the end of it", result.RequeueAfter)
		}
	}
	message := w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	w.expect(binding, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
	if !strings.Contains(message, "reports-token") {
		t.Errorf("the message does not name the Secret: %s", message)
	}
	if n := w.requests.count(exchanges); n != 0 {
		t.Errorf("%d exchanges were wasted", n)
	}
	if s := w.output(binding); string(s.Data["token"]) != "theirs" || len(s.OwnerReferences) > 0 {
		t.Errorf("the foreign Secret was changed: %v", s)
	}
	must(t, w.k8s.Delete(w.ctx, foreign))
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.absent(binding, v1alpha1.ConditionStalled)
}

// Of two bindings with one Secret, the second says that it belongs to the first.
func TestTwoBindingsOneSecret(t *testing.T) {
	w := newWorld(t)
	_, first := w.ready()
	second := w.binding("second")
	second.Spec.Secret.Name = first.Spec.Secret.Name
	must(t, w.k8s.Create(w.ctx, second))
	w.reconcileBinding(second)
	message := w.expect(second, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	if !strings.Contains(message, "ConfluenceTokenBinding reports") {
		t.Errorf("the message does not name the owner: %s", message)
	}
}

// A Secret that somebody deleted or changed is repaired.
func TestTamperingIsRepaired(t *testing.T) {
	w := newWorld(t)
	_, binding := w.ready()
	tests := map[string]func(*corev1.Secret){
		"the token is overwritten": func(s *corev1.Secret) {
			s.Data["token"] = []byte("tampered")
			must(t, w.k8s.Update(w.ctx, s))
		},
		"a key is removed": func(s *corev1.Secret) {
			delete(s.Data, "token.json")
			must(t, w.k8s.Update(w.ctx, s))
		},
		"the expiry is moved": func(s *corev1.Secret) {
			s.Annotations[v1alpha1.ExpiresAtAnnotation] = "2099-01-01T00:00:00Z"
			must(t, w.k8s.Update(w.ctx, s))
		},
		"the bookkeeping is removed": func(s *corev1.Secret) {
			s.Annotations = nil
			must(t, w.k8s.Update(w.ctx, s))
		},
		"it is deleted": func(s *corev1.Secret) { must(t, w.k8s.Delete(w.ctx, s)) },
	}
	for name, tamper := range tests {
		t.Run(name, func(t *testing.T) {
			w.clock.Step(refresh.MinInterval)
			w.requests.take()
			tamper(w.output(binding))
			w.reconcileBinding(binding)
			if n := w.requests.count(exchanges); n != 1 {
				t.Errorf("%d exchanges", n)
			}
			w.pages(w.output(binding))
			w.writes.take()
			w.reconcileBinding(binding)
			if r := w.writes.take(); len(r) > 0 {
				t.Errorf("repaired again: %v", r)
			}
		})
	}
}

// A program that keeps changing the Secret does not turn into a stream of exchanges.
func TestTamperingIsBounded(t *testing.T) {
	w := newWorld(t)
	_, binding := w.ready()
	w.requests.take()
	for range 10 {
		s := w.output(binding)
		s.Data["token"] = []byte("tampered")
		must(t, w.k8s.Update(w.ctx, s))
		w.reconcileBinding(binding)
	}
	if n := w.requests.count(exchanges); n > 4 {
		t.Errorf("ten changes in a moment led to %d exchanges", n)
	}
	message := w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonThrottled)
	if !strings.Contains(message, "reports-token") {
		t.Errorf("the message does not name the Secret: %s", message)
	}
	w.clock.Step(time.Minute)
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// An edit that can't be served yet is not called ready, although the old token still works; with the spec as
// it was, the token goes on.
func TestReadyIsForThisSpec(t *testing.T) {
	w := newWorld(t)
	resource, binding := w.ready()
	must(t, w.k8s.Delete(w.ctx, resource))
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.expect(binding, v1alpha1.ConditionResourceReady, metav1.ConditionFalse, v1alpha1.ReasonResourceNotFound)
	binding.Spec.Subject.User = "bob@example.com"
	must(t, w.k8s.Update(w.ctx, binding))
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonResourceNotFound)
}

// A token that was issued is not exchanged for again when Atlassian fails after it.
func TestIssuedTokenIsKept(t *testing.T) {
	w := newWorld(t)
	resource, binding := w.install(), w.binding("reports")
	must(t, w.k8s.Create(w.ctx, resource))
	must(t, w.k8s.Create(w.ctx, binding))
	w.reconcileResource(resource)
	undo := w.inject("accessible-resources", replyJSON(503, `{}`))
	for range 5 {
		w.clock.Step(w.reconcileBinding(binding).RequeueAfter)
	}
	undo()
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if n := w.requests.count(exchanges); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

// A token that waits for its site is taken up also when no other might be issued yet.
func TestIssuedTokenIsNotThrottled(t *testing.T) {
	w := newWorld(t)
	_, binding := w.ready()
	undo := func() {}
	for made := 1; made < 4; made++ { // as many as may be issued in a row
		if made == 3 {
			undo = w.inject("accessible-resources", replyJSON(503, `{}`))
		}
		must(t, w.k8s.Delete(w.ctx, w.output(binding)))
		w.reconcileBinding(binding)
	}
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAtlassianUnreachable)
	undo()
	w.clock.Step(w.reconcileBinding(binding).RequeueAfter)
	if n := w.exchangesOf(binding, 2); n != 0 {
		t.Errorf("%d exchanges for a token that was there", n)
	}
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// A write of the status that is lost costs no exchange: what the schedule remembers is in the Secret.
func TestLostStatusIsDerivedFromTheSecret(t *testing.T) {
	w := newWorld(t)
	_, binding := w.ready()
	want := binding.Status.DeepCopy()
	binding.Status = v1alpha1.ConfluenceTokenBindingStatus{}
	must(t, w.k8s.Status().Update(w.ctx, binding))
	w.connect()
	w.requests.take()
	w.reconcileBinding(binding)
	if r := w.requests.take(); len(r) > 0 {
		t.Errorf("asked the zone: %v", r)
	}
	if !binding.Status.ExpiresAt.Equal(want.ExpiresAt) || !binding.Status.RefreshAt.Equal(want.RefreshAt) || *binding.Status.Site != *want.Site {
		t.Errorf("status is %+v, was %+v", binding.Status, want)
	}
}

// A zone that hands out the same token again causes neither writes nor a hot loop, and the next token is
// taken when there is one.
func TestTokenThatDoesNotAdvance(t *testing.T) {
	w := newWorld(t)
	_, binding := w.ready()
	expires := binding.Status.ExpiresAt.Time
	token := w.output(binding).Data["token"]
	undo := w.requests.answer(exchanges, func(rw http.ResponseWriter, _ *http.Request) {
		left := max(int(expires.Sub(w.clock.Now()).Seconds()), 1)
		writeJSON(rw, fmt.Sprintf(token200, token, fmt.Sprint(left)))
	})
	w.clock.SetTime(binding.Status.RefreshAt.Time)
	w.requests.take()
	w.writes.take()
	for w.clock.Now().Before(expires) {
		result := w.reconcileBinding(binding)
		w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		if result.RequeueAfter <= 0 {
			t.Fatal("never comes back")
		}
		if w.bindings.Overdue(binding, w.clock.Now()) {
			t.Error("it counts as overdue, and the zone was asked")
		}
		w.clock.Step(result.RequeueAfter)
	}
	if n := w.requests.count(exchanges); n < 2 || n > 20 {
		t.Errorf("asked %d times in the last third of an hour", n)
	}
	if writes := w.writes.take(); len(writes) > 0 {
		t.Errorf("the same token was written: %v", writes)
	}
	undo()
	w.clock.Step(refresh.MinInterval)
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.pages(w.output(binding))
}

// While the zone has nothing newer, a Secret that is deleted comes back at once, and another layout is written.
func TestPauseDoesNotBlockRepair(t *testing.T) {
	w := newWorld(t, func(c *devzone.Config) { c.UpstreamTokens = broker.Cached })
	_, binding := w.ready()
	w.clock.SetTime(binding.Status.RefreshAt.Time)
	w.writes.take()
	w.reconcileBinding(binding)
	if writes := w.writes.take(); len(writes) > 0 {
		t.Fatalf("the zone had a newer token: %v", writes)
	}
	binding.Spec.Secret.Formats = []v1alpha1.Format{v1alpha1.FormatHeader}
	must(t, w.k8s.Update(w.ctx, binding))
	w.reconcileBinding(binding)
	if w.output(binding).Data["header"] == nil {
		t.Error("another layout waits for the next token")
	}
	must(t, w.k8s.Delete(w.ctx, w.output(binding)))
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.pages(w.output(binding))
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
			w := newWorld(t, tc.change)
			_, binding := w.ready()
			w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, tc.issued)
			end := w.clock.Now().Add(3 * time.Hour)
			for w.clock.Now().Before(end) {
				result := w.reconcileBinding(binding)
				w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
				w.pages(w.output(binding))
				if result.RequeueAfter < 10*time.Second {
					t.Fatalf("comes back after %s", result.RequeueAfter)
				}
				w.clock.Step(result.RequeueAfter)
			}
			// An hour's token in three hours: about five exchanges; five minutes' (the assumed life): about 75.
			most := 30
			if tc.issued == v1alpha1.ReasonLifetimeUnknown {
				most = 110
			}
			if n := w.requests.count(exchanges); n > most {
				t.Errorf("%d exchanges in three hours", n)
			}
		})
	}
}

// What keeps a layout from being followed is tried again after seconds, however long the next token may take.
func TestLayoutIsRetriedWhileTheRefreshFails(t *testing.T) {
	w := newWorld(t)
	_, binding := w.ready()
	w.clock.SetTime(binding.Status.RefreshAt.Time)
	defer w.refused("access_denied", "Access denied by policy.")() // which is tried again after ten minutes
	w.reconcileBinding(binding)
	binding.Spec.Secret.Formats = []v1alpha1.Format{v1alpha1.FormatHeader}
	must(t, w.k8s.Update(w.ctx, binding))
	undo := w.withoutPermission()
	w.writes.take()
	wait := w.reconcileBinding(binding).RequeueAfter
	message := w.expect(binding, v1alpha1.ConditionSecretSynced, metav1.ConditionFalse, v1alpha1.ReasonSecretWriteFailed)
	w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	if !strings.Contains(message, "reports-token") || wait < time.Second || wait > 10*time.Second {
		t.Errorf("in %s it tries again after: %s", wait, message)
	}
	w.reconcileBinding(binding)
	if n := w.writes.count("/secrets/"); n != 1 {
		t.Errorf("an event led to %d writes", n)
	}
	w.clock.Step(wait)
	next := w.reconcileBinding(binding).RequeueAfter
	if next <= wait {
		t.Errorf("the wait after %s was %s", wait, next)
	}
	undo()
	w.clock.Step(next)
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionSecretSynced, metav1.ConditionTrue, v1alpha1.ReasonSynced)
	if w.output(binding).Data["header"] == nil {
		t.Error("the Secret was not laid out anew")
	}
}

// The files follow the spec while the zone is down: the token that is there is laid out again, once.
func TestLayoutFollowsWhileTheRefreshFails(t *testing.T) {
	w := newWorld(t)
	_, binding := w.ready()
	w.clock.SetTime(binding.Status.RefreshAt.Time)
	undo := w.requests.answer(exchanges, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	before := w.output(binding)
	binding.Spec.Secret.Formats = []v1alpha1.Format{v1alpha1.FormatHeader}
	must(t, w.k8s.Update(w.ctx, binding))
	for range 3 {
		w.clock.Step(w.reconcileBinding(binding).RequeueAfter)
	}
	after := w.output(binding)
	if !bytes.Equal(after.Data["token"], before.Data["token"]) || after.Data["header"] == nil {
		t.Errorf("the keys are %v", slices.Sorted(maps.Keys(after.Data)))
	}
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	version := after.ResourceVersion
	w.reconcileBinding(binding)
	if got := w.output(binding).ResourceVersion; got != version {
		t.Error("it is written again")
	}
	undo()
	w.clock.Step(w.reconcileBinding(binding).RequeueAfter)
	w.reconcileBinding(binding)
	if got := w.output(binding).Data["header"]; bytes.Equal(got, after.Data["header"]) {
		t.Error("the next token is not in the file")
	}
}
