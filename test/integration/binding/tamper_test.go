// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package binding

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
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// declared has a binding declare a label and an annotation, and be Ready with them.
func declared(w *world.World) *v1alpha1.ConfluenceTokenBinding {
	w.T.Helper()
	resource, binding := w.Install(), w.Binding("reports")
	binding.Spec.Secret.Labels = map[string]v1alpha1.LabelValue{"example.com/team": "reports"}
	binding.Spec.Secret.Annotations = map[string]v1alpha1.AnnotationValue{"example.com/note": "kept"}
	must.Succeed(w.T, w.K8s.Create(w.Ctx, resource))
	must.Succeed(w.T, w.K8s.Create(w.Ctx, binding))
	w.ReconcileResource(resource)
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
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
	w := world.New(t)
	binding := declared(w)
	for name, tamper := range undress {
		t.Run(name, func(t *testing.T) {
			w.Clock.Step(time.Minute)
			before := w.Output(binding)
			after := before.DeepCopy()
			tamper(after)
			must.Succeed(t, w.K8s.Update(w.Ctx, after))
			w.Requests.Take()
			w.Writes.Take()
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.Expect(binding, v1alpha1.ConditionSecretSynced, metav1.ConditionTrue, v1alpha1.ReasonSynced)
			if r := w.Requests.Take(); len(r) > 0 {
				t.Errorf("asked the zone: %v", r)
			}
			if writes := w.Writes.Take(); len(writes) != 1 {
				t.Errorf("wrote %v, want the Secret once", writes)
			}
			got := w.Output(binding)
			if !maps.Equal(got.Labels, before.Labels) || !maps.Equal(got.Annotations, before.Annotations) || !metav1.IsControlledBy(got, binding) ||
				len(got.OwnerReferences) != 1 || !bytes.Equal(got.Data["token"], before.Data["token"]) {
				t.Errorf("the Secret has %v %v %v", got.Labels, got.Annotations, got.OwnerReferences)
			}
			w.ReconcileBinding(binding)
			if writes := w.Writes.Take(); len(writes) > 0 {
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
			w := world.New(t)
			binding := declared(w)
			w.Requests.Take()
			w.Writes.Take()
			var result ctrl.Result
			for range 10 {
				s := w.Output(binding)
				tamper(s)
				must.Succeed(t, w.K8s.Update(w.Ctx, s))
				result = w.ReconcileBinding(binding)
			}
			if n := w.Writes.Count("PATCH /api/v1/namespaces/" + w.NS + "/secrets/"); n > 4 {
				t.Errorf("ten changes in a moment led to %d writes", n)
			}
			if r := w.Requests.Take(); len(r) > 0 {
				t.Errorf("asked the zone: %v", r)
			}
			message := w.Expect(binding, v1alpha1.ConditionSecretSynced, metav1.ConditionFalse, v1alpha1.ReasonThrottled)
			if !strings.Contains(message, "Secret reports-token") {
				t.Errorf("the message does not name the Secret: %s", message)
			}
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			if result.RequeueAfter < refresh.MinInterval {
				t.Errorf("comes back after %s", result.RequeueAfter)
			}
			w.Clock.Step(result.RequeueAfter)
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionSecretSynced, metav1.ConditionTrue, v1alpha1.ReasonSynced)
			if !metav1.IsControlledBy(w.Output(binding), binding) || w.Output(binding).Labels["example.com/team"] == "" {
				t.Error("it was not repaired")
			}
		})
	}
}

// What the cluster itself takes off each write is not written again and again: it stays off, and the token is no worse for it.
func TestLabelThatTheClusterTakesOff(t *testing.T) {
	w := world.New(t)
	undo := stripLabel(w, "example.com/team")
	binding := declared(w)
	w.Requests.Take()
	w.Writes.Take()
	for range 3 {
		w.Clock.Step(time.Minute)
		w.ReconcileBinding(binding)
	}
	if writes := w.Writes.Take(); len(writes) > 0 {
		t.Errorf("wrote %v", writes)
	}
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if got := w.Output(binding).Labels["example.com/team"]; got != "" {
		t.Errorf("the label is there: %s", got)
	}
	undo()
	w.Clock.SetTime(binding.Status.RefreshAt.Time)
	w.ReconcileBinding(binding)
	if got := w.Output(binding).Labels["example.com/team"]; got == "" {
		t.Error("the label does not come with the next token")
	}
}

// stripLabel has the cluster take a label off every Secret that is written.
func stripLabel(w *world.World, label string) (undo func()) {
	w.T.Helper()
	name := w.NS + "-strip"
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
				MatchLabels: map[string]string{corev1.LabelMetadataName: w.NS},
			}},
		},
	}
	must.Succeed(w.T, w.K8s.Create(w.Ctx, policy))
	must.Succeed(w.T, w.K8s.Create(w.Ctx, binding))
	remove := sync.OnceFunc(func() { must.Succeed(w.T, w.K8s.Delete(context.WithoutCancel(w.Ctx), policy)) })
	w.T.Cleanup(remove)
	until := func(what string, stripped bool) {
		w.T.Helper()
		w.Eventually(what, func(ctx context.Context) (bool, error) {
			probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, GenerateName: "probe-", Labels: map[string]string{label: "x"}}}
			err := w.K8s.Create(ctx, probe, client.DryRunAll)
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
	for name, replace := range map[string]func(w *world.World, b *v1alpha1.ConfluenceTokenBinding, s *corev1.Secret){
		"a copy without its owner": func(w *world.World, _ *v1alpha1.ConfluenceTokenBinding, s *corev1.Secret) {
			must.Succeed(t, w.K8s.Delete(w.Ctx, s.DeepCopy()))
			s.ResourceVersion, s.UID, s.OwnerReferences, s.ManagedFields = "", "", nil, nil
			must.Succeed(t, w.K8s.Create(w.Ctx, s, client.FieldOwner("kubectl-client-side-apply")))
		},
		"of a binding that is gone": func(w *world.World, b *v1alpha1.ConfluenceTokenBinding, s *corev1.Secret) {
			s.Finalizers = []string{"example.com/collected-later"}
			must.Succeed(t, w.K8s.Update(w.Ctx, s))
			again(w, b)
		},
		"of a binding that is gone, without an owner": func(w *world.World, b *v1alpha1.ConfluenceTokenBinding, s *corev1.Secret) {
			s.OwnerReferences = nil
			must.Succeed(t, w.K8s.Update(w.Ctx, s))
			again(w, b)
		},
		"another's by now": func(w *world.World, _ *v1alpha1.ConfluenceTokenBinding, s *corev1.Secret) {
			owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: "other"}}
			must.Succeed(t, w.K8s.Create(w.Ctx, owner))
			s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID, Controller: new(true)}}
			must.Succeed(t, w.K8s.Update(w.Ctx, s))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			binding := declared(w)
			replace(w, binding, w.Output(binding))
			before := w.Output(binding)
			w.Requests.Take()
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
			if got := w.Output(binding); !maps.Equal(got.Annotations, before.Annotations) || metav1.IsControlledBy(got, binding) {
				t.Error("it was taken over")
			}
			if n := w.Requests.Count(world.Exchanges); n != 0 {
				t.Errorf("%d exchanges", n)
			}
		})
	}
}

// again makes a binding anew; its Secret is not collected yet.
func again(w *world.World, b *v1alpha1.ConfluenceTokenBinding) {
	w.T.Helper()
	must.Succeed(w.T, w.K8s.Delete(w.Ctx, b.DeepCopy()))
	b.ObjectMeta = metav1.ObjectMeta{Namespace: b.Namespace, Name: b.Name}
	b.Status = v1alpha1.ConfluenceTokenBindingStatus{}
	must.Succeed(w.T, w.K8s.Create(w.Ctx, b))
}

// A copy of the Secret under its own name and with its owner, as a backup brings back, is the binding's: it gets a new token,
// since nobody vouches for its values.
func TestCopyWithItsOwnerIsRenewed(t *testing.T) {
	w := world.New(t)
	binding := declared(w)
	s := w.Output(binding)
	must.Succeed(t, w.K8s.Delete(w.Ctx, s.DeepCopy()))
	s.ResourceVersion, s.UID, s.ManagedFields = "", "", nil
	must.Succeed(t, w.K8s.Create(w.Ctx, s, client.FieldOwner("kubectl-client-side-apply")))
	w.Requests.Take()
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if n := w.Requests.Count(world.Exchanges); n != 1 {
		t.Errorf("%d exchanges, want one", n)
	}
}

// foreignSecrets are what somebody may make while a token is exchanged for, without a key of ours.
var foreignSecrets = map[string]func(w *world.World, name string){
	"with data": func(w *world.World, name string) {
		must.Succeed(w.T, w.K8s.Create(w.Ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: name}, Data: map[string][]byte{"password": []byte("theirs")},
		}))
	},
	"empty": func(w *world.World, name string) {
		must.Succeed(w.T, w.K8s.Create(w.Ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: name, Labels: map[string]string{"whose": "theirs"}}}))
	},
	"applied": func(w *world.World, name string) {
		raw := `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"` + name + `","namespace":"` + w.NS + `"},"data":{"password":"dGhlaXJz"}}`
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: name}}
		must.Succeed(w.T, w.K8s.Patch(w.Ctx, s, client.RawPatch(types.ApplyPatchType, []byte(raw)), client.FieldOwner("kubectl")))
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
				w := world.New(t)
				resource, binding := w.Install(), w.Binding("reports")
				must.Succeed(t, w.K8s.Create(w.Ctx, resource))
				must.Succeed(t, w.K8s.Create(w.Ctx, binding))
				w.ReconcileResource(resource)
				patches, undone := 0, false
				w.Requests.Afterwards(func(what string) {
					if strings.Contains(what, world.Exchanges) {
						appear(w, "reports-token")
					}
				})
				w.Writes.Mu.Lock()
				w.Writes.Dying = func(what string) (dropped, lost bool) {
					if undone || !strings.Contains(what, "/secrets/reports-token") || !strings.Contains(what, "fieldManager="+v1alpha1.FieldManager) {
						return false, false
					}
					patches++
					return stop(what, patches)
				}
				w.Writes.Mu.Unlock()
				w.ReconcileBinding(binding)
				if patches == 0 {
					t.Fatal("nothing was written")
				}
				undone = true
				w.Requests.Afterwards(nil)
				w.Connect() // a new process
				for range 3 {
					w.Clock.Step(max(w.ReconcileBinding(binding).RequeueAfter, 0))
				}
				w.Expect(binding, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
				if s := w.Output(binding); len(s.OwnerReferences) > 0 || s.Data["token"] != nil || s.Annotations != nil {
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
			w := world.New(t)
			resource, binding := w.Install(), w.Binding("reports")
			must.Succeed(t, w.K8s.Create(w.Ctx, resource))
			must.Succeed(t, w.K8s.Create(w.Ctx, binding))
			w.ReconcileResource(resource)
			undo := w.Writes.StandIn("/status", func(r *http.Request) (*http.Response, error) {
				if strings.Contains(r.URL.Path, "confluencetokenbindings") && w.Writes.Count("/secrets/reports-token") > 0 {
					return nil, world.ErrDead
				}
				return nil, nil //nolint:nilnil // it is passed on
			})
			_, err := w.Bindings.Reconcile(w.Ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(binding)})
			if !errors.Is(err, world.ErrDead) {
				t.Fatalf("the status was written: %v", err)
			}
			undo()
			s := w.Output(binding)
			s.Labels["whose"], s.Data["extra"] = "users", []byte("users")
			must.Succeed(t, w.K8s.Update(w.Ctx, s))
			w.Connect()
			show := func() {}
			if hidden {
				show = w.Hide(s.Name)
			}
			for range 2 {
				w.Clock.Step(min(w.ReconcileBinding(binding).RequeueAfter, time.Minute))
				show()
			}
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			got := w.Output(binding)
			if got.UID != s.UID || !metav1.IsControlledBy(got, binding) || string(got.Data["extra"]) != "users" || got.Labels["whose"] != "users" {
				t.Errorf("the Secret has %v %v", got.ObjectMeta, world.Keys(got))
			}
			w.Pages(got)
		})
	}
}

// The whole operator puts right what somebody did to the Secret as soon as the watch tells of it: the token is an hour's, so no
// timer ends before the test does.
func TestTamperingIsRepairedByWatches(t *testing.T) {
	w := world.New(t, world.RealTime)
	resource, binding := w.Install(), w.Binding("reports")
	binding.Spec.Secret.Labels = map[string]v1alpha1.LabelValue{"example.com/team": "reports"}
	binding.Spec.Secret.Annotations = map[string]v1alpha1.AnnotationValue{"example.com/note": "kept"}
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	w.StartOperator()
	w.UntilReady(binding)
	if until := time.Until(binding.Status.RefreshAt.Time); until < 2*world.Patience {
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
		before := w.Output(binding)
		changed := before.DeepCopy()
		w.Requests.Take()
		if tamper.do == nil {
			must.Succeed(t, w.K8s.Delete(w.Ctx, changed))
		} else {
			tamper.do(changed)
			must.Succeed(t, w.K8s.Update(w.Ctx, changed))
		}
		start := time.Now()
		w.Eventually(tamper.name+", and is repaired", func(ctx context.Context) (bool, error) {
			var s corev1.Secret
			err := w.K8s.Get(ctx, client.ObjectKeyFromObject(before), &s)
			return err == nil && len(s.Data["token"]) > 0 && string(s.Data["token"]) != "tampered" && bytes.Equal(s.Data["token"], before.Data["token"]) != tamper.newToken &&
				maps.Equal(s.Labels, before.Labels) && metav1.IsControlledBy(&s, binding), client.IgnoreNotFound(err)
		})
		t.Logf("%s: repaired after %s", tamper.name, time.Since(start).Round(time.Millisecond))
		if n := w.Requests.Count(world.Exchanges); (n > 0) != tamper.newToken || n > 1 {
			t.Errorf("%s: %d exchanges", tamper.name, n)
		}
	}
	w.UntilReady(binding)
	w.NoCanaries()
}
