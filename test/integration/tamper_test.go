// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/refresh"
)

// declared has a binding declare a label and an annotation, and be Ready with them.
func (w *world) declared() *v1alpha1.ConfluenceTokenBinding {
	w.t.Helper()
	resource, binding := w.install(), w.binding("reports")
	binding.Spec.Secret.Labels = map[string]v1alpha1.LabelValue{"example.com/team": "reports"}
	binding.Spec.Secret.Annotations = map[string]v1alpha1.AnnotationValue{"example.com/note": "kept"}
	must(w.t, w.k8s.Create(w.ctx, resource))
	must(w.t, w.k8s.Create(w.ctx, binding))
	w.reconcileResource(resource)
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	return binding
}

// undress is what takes from a Secret what the operator applied beside the token.
var undress = map[string]func(*corev1.Secret){
	"a label is changed":          func(s *corev1.Secret) { s.Labels["example.com/team"] = "others" },
	"a label is removed":          func(s *corev1.Secret) { delete(s.Labels, "example.com/team") },
	"the operator's label":        func(s *corev1.Secret) { delete(s.Labels, v1alpha1.ManagedByLabel) },
	"an annotation is changed":    func(s *corev1.Secret) { s.Annotations["example.com/note"] = "lost" },
	"an annotation is removed":    func(s *corev1.Secret) { delete(s.Annotations, "example.com/note") },
	"the owner is removed":        func(s *corev1.Secret) { s.OwnerReferences = nil },
	"the owner does not control":  func(s *corev1.Secret) { s.OwnerReferences[0].Controller = nil },
	"the owner and all labels go": func(s *corev1.Secret) { s.OwnerReferences, s.Labels = nil, nil },
}

// Labels, annotations and the owner that somebody took off the Secret come back, with the token that it has.
func TestTamperingBesideTheTokenIsRepaired(t *testing.T) {
	w := newWorld(t)
	binding := w.declared()
	for name, tamper := range undress {
		t.Run(name, func(t *testing.T) {
			w.clock.Step(time.Minute)
			before := w.output(binding)
			after := before.DeepCopy()
			tamper(after)
			must(t, w.k8s.Update(w.ctx, after))
			w.requests.take()
			w.writes.take()
			w.reconcileBinding(binding)
			w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.expect(binding, v1alpha1.ConditionSecretSynced, metav1.ConditionTrue, v1alpha1.ReasonSynced)
			if r := w.requests.take(); len(r) > 0 {
				t.Errorf("asked the zone: %v", r)
			}
			if writes := w.writes.take(); len(writes) != 1 {
				t.Errorf("wrote %v, want the Secret once", writes)
			}
			got := w.output(binding)
			if !maps.Equal(got.Labels, before.Labels) || !maps.Equal(got.Annotations, before.Annotations) || !metav1.IsControlledBy(got, binding) ||
				len(got.OwnerReferences) != 1 || !bytes.Equal(got.Data["token"], before.Data["token"]) {
				t.Errorf("the Secret has %v %v %v", got.Labels, got.Annotations, got.OwnerReferences)
			}
			w.reconcileBinding(binding)
			if writes := w.writes.take(); len(writes) > 0 {
				t.Errorf("repaired again: %v", writes)
			}
		})
	}
}

// A program that takes a label off again and again does not turn into a stream of writes, and the token is no worse for it.
func TestRepairOfLabelsIsBounded(t *testing.T) {
	for name, tamper := range map[string]func(*corev1.Secret){
		"label": undress["a label is removed"], "owner": undress["the owner is removed"],
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			binding := w.declared()
			w.requests.take()
			w.writes.take()
			var result ctrl.Result
			for range 10 {
				s := w.output(binding)
				tamper(s)
				must(t, w.k8s.Update(w.ctx, s))
				result = w.reconcileBinding(binding)
			}
			if n := w.writes.count("PATCH /api/v1/namespaces/" + w.ns + "/secrets/"); n > 4 {
				t.Errorf("ten changes in a moment led to %d writes", n)
			}
			if r := w.requests.take(); len(r) > 0 {
				t.Errorf("asked the zone: %v", r)
			}
			message := w.expect(binding, v1alpha1.ConditionSecretSynced, metav1.ConditionFalse, v1alpha1.ReasonThrottled)
			if !strings.Contains(message, "Secret reports-token") {
				t.Errorf("the message does not name the Secret: %s", message)
			}
			w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			if result.RequeueAfter < refresh.MinInterval {
				t.Errorf("comes back after %s", result.RequeueAfter)
			}
			w.clock.Step(result.RequeueAfter)
			w.reconcileBinding(binding)
			w.expect(binding, v1alpha1.ConditionSecretSynced, metav1.ConditionTrue, v1alpha1.ReasonSynced)
			if !metav1.IsControlledBy(w.output(binding), binding) || w.output(binding).Labels["example.com/team"] == "" {
				t.Error("it was not repaired")
			}
		})
	}
}

// What the cluster itself takes off each write is not written again and again: it stays off, and the token is no worse for it.
func TestLabelThatTheClusterTakesOff(t *testing.T) {
	w := newWorld(t)
	undo := w.stripLabel("example.com/team")
	binding := w.declared()
	w.requests.take()
	w.writes.take()
	for range 3 {
		w.clock.Step(time.Minute)
		w.reconcileBinding(binding)
	}
	if writes := w.writes.take(); len(writes) > 0 {
		t.Errorf("wrote %v", writes)
	}
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if got := w.output(binding).Labels["example.com/team"]; got != "" {
		t.Errorf("the label is there: %s", got)
	}
	undo()
	w.clock.SetTime(binding.Status.RefreshAt.Time)
	w.reconcileBinding(binding)
	if got := w.output(binding).Labels["example.com/team"]; got == "" {
		t.Error("the label does not come with the next token")
	}
}

// stripLabel has the cluster take a label off every Secret that is written.
func (w *world) stripLabel(label string) (undo func()) {
	w.t.Helper()
	name := w.ns + "-strip"
	policy := &admissionregistrationv1.MutatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.MutatingAdmissionPolicySpec{
			FailurePolicy: new(admissionregistrationv1.Fail), ReinvocationPolicy: admissionregistrationv1.NeverReinvocationPolicy,
			MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"}},
				},
			}}},
			MatchConditions: []admissionregistrationv1.MatchCondition{{
				Name: "labelled", Expression: `has(object.metadata.labels) && "` + label + `" in object.metadata.labels`,
			}},
			Mutations: []admissionregistrationv1.Mutation{{
				PatchType: admissionregistrationv1.PatchTypeJSONPatch,
				JSONPatch: &admissionregistrationv1.JSONPatch{
					Expression: `[JSONPatch{op: "remove", path: "/metadata/labels/` + strings.ReplaceAll(label, "/", "~1") + `"}]`,
				},
			}},
		},
	}
	binding := &admissionregistrationv1.MutatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.MutatingAdmissionPolicyBindingSpec{
			PolicyName: name,
			MatchResources: &admissionregistrationv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{
				MatchLabels: map[string]string{corev1.LabelMetadataName: w.ns},
			}},
		},
	}
	must(w.t, w.k8s.Create(w.ctx, policy))
	must(w.t, w.k8s.Create(w.ctx, binding))
	remove := sync.OnceFunc(func() { must(w.t, w.k8s.Delete(context.WithoutCancel(w.ctx), policy)) })
	w.t.Cleanup(remove)
	until := func(what string, stripped bool) {
		w.t.Helper()
		w.eventually(what, func(ctx context.Context) (bool, error) {
			probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, GenerateName: "probe-", Labels: map[string]string{label: "x"}}}
			err := w.k8s.Create(ctx, probe, client.DryRunAll)
			return (probe.Labels[label] == "") == stripped, err
		})
	}
	until("the label is taken off", true)
	return func() {
		remove()
		until("the label is left", false)
	}
}

// What only looks like the binding's Secret is left alone: a copy, and the Secret of a binding of that name that is gone.
func TestLookalikesAreLeftAlone(t *testing.T) {
	for name, replace := range map[string]func(w *world, b *v1alpha1.ConfluenceTokenBinding, s *corev1.Secret){
		"a copy without its owner": func(w *world, _ *v1alpha1.ConfluenceTokenBinding, s *corev1.Secret) {
			must(t, w.k8s.Delete(w.ctx, s.DeepCopy()))
			s.ResourceVersion, s.UID, s.OwnerReferences, s.ManagedFields = "", "", nil, nil
			must(t, w.k8s.Create(w.ctx, s, client.FieldOwner("kubectl-client-side-apply")))
		},
		"of a binding that is gone": func(w *world, b *v1alpha1.ConfluenceTokenBinding, s *corev1.Secret) {
			s.Finalizers = []string{"example.com/collected-later"}
			must(t, w.k8s.Update(w.ctx, s))
			w.again(b)
		},
		"of a binding that is gone, without an owner": func(w *world, b *v1alpha1.ConfluenceTokenBinding, s *corev1.Secret) {
			s.OwnerReferences = nil
			must(t, w.k8s.Update(w.ctx, s))
			w.again(b)
		},
		"another's by now": func(w *world, _ *v1alpha1.ConfluenceTokenBinding, s *corev1.Secret) {
			owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "other"}}
			must(t, w.k8s.Create(w.ctx, owner))
			s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID, Controller: new(true)}}
			must(t, w.k8s.Update(w.ctx, s))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			binding := w.declared()
			replace(w, binding, w.output(binding))
			before := w.output(binding)
			w.requests.take()
			w.reconcileBinding(binding)
			w.expect(binding, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
			if got := w.output(binding); !maps.Equal(got.Annotations, before.Annotations) || metav1.IsControlledBy(got, binding) {
				t.Error("it was taken over")
			}
			if n := w.requests.count(exchanges); n != 0 {
				t.Errorf("%d exchanges", n)
			}
		})
	}
}

// again makes a binding anew; its Secret is not collected yet.
func (w *world) again(b *v1alpha1.ConfluenceTokenBinding) {
	w.t.Helper()
	must(w.t, w.k8s.Delete(w.ctx, b.DeepCopy()))
	b.ObjectMeta = metav1.ObjectMeta{Namespace: b.Namespace, Name: b.Name}
	b.Status = v1alpha1.ConfluenceTokenBindingStatus{}
	must(w.t, w.k8s.Create(w.ctx, b))
}

// A copy of the Secret under its own name and with its owner, as a backup brings back, is the binding's: it gets a new token,
// since nobody vouches for its values.
func TestCopyWithItsOwnerIsRenewed(t *testing.T) {
	w := newWorld(t)
	binding := w.declared()
	s := w.output(binding)
	must(t, w.k8s.Delete(w.ctx, s.DeepCopy()))
	s.ResourceVersion, s.UID, s.ManagedFields = "", "", nil
	must(t, w.k8s.Create(w.ctx, s, client.FieldOwner("kubectl-client-side-apply")))
	w.requests.take()
	w.reconcileBinding(binding)
	w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if n := w.requests.count(exchanges); n != 1 {
		t.Errorf("%d exchanges, want one", n)
	}
}

// foreignSecrets are what somebody may make while a token is exchanged for, without a key of ours.
var foreignSecrets = map[string]func(w *world, name string){
	"with data": func(w *world, name string) {
		must(w.t, w.k8s.Create(w.ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}, Data: map[string][]byte{"password": []byte("theirs")},
		}))
	},
	"empty": func(w *world, name string) {
		must(w.t, w.k8s.Create(w.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name, Labels: map[string]string{"whose": "theirs"}}}))
	},
	"applied": func(w *world, name string) {
		raw := `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"` + name + `","namespace":"` + w.ns + `"},"data":{"password":"dGhlaXJz"}}`
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}}
		must(w.t, w.k8s.Patch(w.ctx, s, client.RawPatch(types.ApplyPatchType, []byte(raw)), client.FieldOwner("kubectl")))
	},
}

// A Secret that somebody makes during the exchange is given back even when the answer to the first write is lost, and when the
// operator ends before it could give it back.
func TestForeignSecretAfterALostAnswer(t *testing.T) {
	for name, appear := range foreignSecrets {
		for fault, stop := range map[string]func(what string, patches int) (dropped, lost bool){
			"lost answer":     func(_ string, patches int) (bool, bool) { return false, patches == 1 },
			"before withdraw": func(_ string, patches int) (bool, bool) { return patches > 1, false },
		} {
			t.Run(name+", "+fault, func(t *testing.T) {
				w := newWorld(t)
				resource, binding := w.install(), w.binding("reports")
				must(t, w.k8s.Create(w.ctx, resource))
				must(t, w.k8s.Create(w.ctx, binding))
				w.reconcileResource(resource)
				patches, undone := 0, false
				w.requests.afterwards(func(what string) {
					if strings.Contains(what, exchanges) {
						appear(w, "reports-token")
					}
				})
				w.writes.mu.Lock()
				w.writes.dying = func(what string) (dropped, lost bool) {
					if undone || !strings.Contains(what, "/secrets/reports-token") || !strings.Contains(what, "fieldManager="+v1alpha1.FieldManager) {
						return false, false
					}
					patches++
					return stop(what, patches)
				}
				w.writes.mu.Unlock()
				w.reconcileBinding(binding)
				if patches == 0 {
					t.Fatal("nothing was written")
				}
				undone = true
				w.requests.afterwards(nil)
				w.connect() // a new process
				for range 3 {
					w.clock.Step(max(w.reconcileBinding(binding).RequeueAfter, 0))
				}
				w.expect(binding, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
				if s := w.output(binding); len(s.OwnerReferences) > 0 || s.Data["token"] != nil || s.Annotations != nil {
					t.Errorf("the foreign Secret was taken over: %v", s.ObjectMeta)
				}
			})
		}
	}
}

// A Secret of ours that somebody adds to before the first status is written stays ours, with its token: after a kill, and for a
// second replica that does not see it yet.
func TestOwnSecretThatIsAddedToStaysOurs(t *testing.T) {
	for name, hidden := range map[string]bool{"after a kill": false, "by another replica": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			resource, binding := w.install(), w.binding("reports")
			must(t, w.k8s.Create(w.ctx, resource))
			must(t, w.k8s.Create(w.ctx, binding))
			w.reconcileResource(resource)
			undo := w.writes.standIn("/status", func(r *http.Request) (*http.Response, error) {
				if strings.Contains(r.URL.Path, "confluencetokenbindings") && w.writes.count("/secrets/reports-token") > 0 {
					return nil, errDead
				}
				return nil, nil //nolint:nilnil // it is passed on
			})
			_, err := w.bindings.Reconcile(w.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(binding)})
			if !errors.Is(err, errDead) {
				t.Fatalf("the status was written: %v", err)
			}
			undo()
			s := w.output(binding)
			s.Labels["whose"], s.Data["extra"] = "users", []byte("users")
			must(t, w.k8s.Update(w.ctx, s))
			w.connect()
			show := func() {}
			if hidden {
				show = w.hide(s.Name)
			}
			for range 2 {
				w.clock.Step(min(w.reconcileBinding(binding).RequeueAfter, time.Minute))
				show()
			}
			w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			got := w.output(binding)
			if got.UID != s.UID || !metav1.IsControlledBy(got, binding) || string(got.Data["extra"]) != "users" || got.Labels["whose"] != "users" {
				t.Errorf("the Secret has %v %v", got.ObjectMeta, keys(got))
			}
			w.pages(got)
		})
	}
}

// The whole operator puts right what somebody did to the Secret as soon as the watch tells of it: the token is an hour's, so no
// timer ends before the test does.
func TestTamperingIsRepairedByWatches(t *testing.T) {
	w := newWorld(t, realTime)
	resource, binding := w.install(), w.binding("reports")
	binding.Spec.Secret.Labels = map[string]v1alpha1.LabelValue{"example.com/team": "reports"}
	binding.Spec.Secret.Annotations = map[string]v1alpha1.AnnotationValue{"example.com/note": "kept"}
	must(t, w.k8s.Create(w.ctx, resource))
	must(t, w.k8s.Create(w.ctx, binding))
	w.startOperator()
	w.untilReady(binding)
	if until := time.Until(binding.Status.RefreshAt.Time); until < 2*patience {
		t.Fatalf("a timer is due in %s", until)
	}
	// A few of each kind, or the repairs would wait: they are bounded.
	for _, tamper := range []struct {
		name     string
		do       func(*corev1.Secret)
		newToken bool
	}{
		{"data is edited", func(s *corev1.Secret) { s.Data["token"] = []byte("tampered") }, true},
		{"a label is removed", undress["a label is removed"], false},
		{"the owner is removed", undress["the owner is removed"], false},
		{"the owner and all labels go", undress["the owner and all labels go"], false},
		{"it is deleted", nil, true},
	} {
		before := w.output(binding)
		changed := before.DeepCopy()
		w.requests.take()
		if tamper.do == nil {
			must(t, w.k8s.Delete(w.ctx, changed))
		} else {
			tamper.do(changed)
			must(t, w.k8s.Update(w.ctx, changed))
		}
		start := time.Now()
		w.eventually(tamper.name+", and is repaired", func(ctx context.Context) (bool, error) {
			var s corev1.Secret
			err := w.k8s.Get(ctx, client.ObjectKeyFromObject(before), &s)
			return err == nil && len(s.Data["token"]) > 0 && string(s.Data["token"]) != "tampered" && bytes.Equal(s.Data["token"], before.Data["token"]) != tamper.newToken &&
				maps.Equal(s.Labels, before.Labels) && metav1.IsControlledBy(&s, binding), client.IgnoreNotFound(err)
		})
		t.Logf("%s: repaired after %s", tamper.name, time.Since(start).Round(time.Millisecond))
		if n := w.requests.count(exchanges); (n > 0) != tamper.newToken || n > 1 {
			t.Errorf("%s: %d exchanges", tamper.name, n)
		}
	}
	w.untilReady(binding)
	w.noCanaries()
}
