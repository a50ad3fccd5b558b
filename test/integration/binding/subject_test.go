// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/seed"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// Each change of the subject's token leads to one exchange, and nothing else that happens to its Secret leads to any.
func TestSubjectAccessToken(t *testing.T) {
	w := world.New(t, world.SignsIn)
	b := w.Portal()
	w.Pages(w.Output(b))
	if n := w.ExchangesOf(b, 2); n != 0 {
		t.Errorf("%d exchanges for nothing", n)
	}
	before := string(w.Output(b).Data["token"])
	fresh := w.SignIn().AccessToken
	w.PortalSecret("access_token", fresh)
	if n := w.ExchangesOf(b, 3); n != 1 || string(w.Output(b).Data["token"]) == before {
		t.Errorf("%d exchanges for another token of the subject, and the token is the one from before: %v", n, string(w.Output(b).Data["token"]) == before)
	}

	w.PortalSecret("wrong", fresh)
	w.ReconcileBinding(b)
	message := w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	if !strings.Contains(message, "Key access_token of Secret "+w.NS+"/portal-session is missing") {
		t.Errorf("the remedy is %q", message)
	}
	w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if n := w.ExchangesOf(b, 2); n != 0 {
		t.Errorf("%d exchanges without a token of the subject", n)
	}
	w.PortalSecret("access_token", fresh)
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)

	// Gone, it is missed when it is needed, and its return is enough.
	must.Succeed(t, w.K8s.Delete(w.Ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: "portal-session"}}))
	if n := w.ExchangesOf(b, 2); n != 0 {
		t.Errorf("%d exchanges when the subject's Secret went", n)
	}
	w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	w.Due(b)
	w.ReconcileBinding(b)
	message = w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	if !strings.Contains(message, v1alpha1.ReasonSecretNotFound) || !strings.Contains(message, "portal-session") {
		t.Errorf("the remedy is %q", message)
	}
	w.PortalSecret("access_token", w.SignIn().AccessToken)
	if n := w.ExchangesOf(b, 2); n != 1 {
		t.Errorf("%d exchanges when it came back", n)
	}
	w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	w.NoCanaries()
	if strings.Contains(w.Logs.String(), fresh) {
		t.Error("the subject's token is in the log")
	}
}

// An edit of the Secret that leaves the token as it is costs one look at it, and no exchange: now, after a restart and after a
// rotation.
func TestSubjectSecretIsEdited(t *testing.T) {
	w := world.New(t, world.SignsIn, func(c *devzone.Config) { c.ZoneTokenLifetime = 24 * time.Hour })
	b := w.Portal()
	looks := w.LooksAt("portal-session")
	for _, edit := range []string{"once", "twice"} {
		w.Label("portal-session", edit)
		if n := w.ExchangesOf(b, 3); n != 0 {
			t.Errorf("%d exchanges for a label", n)
		}
		if n := looks(); n != 1 {
			t.Errorf("%d looks at the subject's token for one edit", n)
		}
		w.Connect()
		if n := w.ExchangesOf(b, 2); n != 0 {
			t.Errorf("%d exchanges after a restart", n)
		}
		if n := looks(); n != 1 {
			t.Errorf("%d looks after a restart", n)
		}
		w.Due(b)
		if n := w.ExchangesOf(b, 2); n != 1 {
			t.Errorf("%d exchanges when it was due", n)
		}
		looks()
		w.Connect()
		w.ReconcileBinding(b)
		if n := looks(); n != 0 {
			t.Errorf("%d looks when nothing was edited", n)
		}
	}
	w.PortalSecret("access_token", w.SignIn().AccessToken)
	if n := w.ExchangesOf(b, 2); n != 1 {
		t.Errorf("%d exchanges for another token", n)
	}
}

// A Secret that an operator wrote which did not know the fingerprint costs nothing while its subject is unchanged, and gets
// one with the next token.
func TestSubjectFingerprintIsNew(t *testing.T) {
	w := world.New(t, world.SignsIn)
	b := w.Portal()
	must.Succeed(t, w.K8s.Patch(w.Ctx, w.Output(b), client.RawPatch(types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"`+v1alpha1.SubjectHashAnnotation+`":null}}}`))))
	w.Connect()
	looks := w.LooksAt("portal-session")
	if n := w.ExchangesOf(b, 2); n != 0 {
		t.Errorf("%d exchanges at the upgrade", n)
	}
	if n := looks(); n != 0 {
		t.Errorf("%d looks at the upgrade", n)
	}
	w.Due(b)
	w.ReconcileBinding(b)
	w.Label("portal-session", "edited")
	if n := w.ExchangesOf(b, 2); n != 0 {
		t.Errorf("%d exchanges for a label", n)
	}
}

// A subject's token that has expired, or is none, needs a fresh one in its place; the condition says where.
func TestSubjectAccessTokenIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(*world.World){
		"expired":         func(w *world.World) { w.Clock.Step(2 * time.Hour) },
		"no token":        func(w *world.World) { w.PortalSecret("access_token", "eyJhbGciOiJub25lIn0.e30.") },
		"somebody else's": func(w *world.World) { w.PortalSecret("access_token", strings.Repeat("x", 40)) },
	} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t, world.SignsIn)
			b := w.Portal()
			spoil(w)
			w.ReconcileBinding(b)
			w.Clock.Step(2 * time.Hour)
			w.ReconcileBinding(b)
			message := w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSubjectTokenRejected)
			if !strings.Contains(message, "The zone refuses the access token in key access_token of Secret "+w.NS+"/portal-session") {
				t.Errorf("the remedy is %q", message)
			}
			w.PortalSecret("access_token", w.SignIn().AccessToken)
			w.ReconcileBinding(b)
			w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		})
	}
}

// The application as itself needs a grant of its own and the zone's policies on its side.
func TestSubjectApplication(t *testing.T) {
	for name, forbidden := range map[string]bool{"allowed": false, "denied by a policy": true} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t, func(c *devzone.Config) {
				c.Seed = seed.Default()
				c.Seed.Applications[0].Grants = []seed.Consent{{Resource: world.ResourceIdentifier, Account: world.User, Sites: []string{world.Site}}}
				if forbidden {
					c.Seed.Policies = append(c.Seed.Policies, seed.Policy{
						Name: "nobody-as-itself", Cedar: "forbid (principal is Keycard::Application, action, resource) when { !context.on_behalf };",
					})
				}
			})
			install, b := w.Install(), w.Binding("nightly")
			must.Succeed(t, w.K8s.Create(w.Ctx, install))
			w.ReconcileResource(install)
			b.Spec.Subject = v1alpha1.Subject{Application: &v1alpha1.ApplicationSubject{}}
			must.Succeed(t, w.K8s.Create(w.Ctx, b))
			w.ReconcileBinding(b)
			if forbidden {
				w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAccessDenied)
				w.Expect(b, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonAccessDenied)
				return
			}
			w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.Pages(w.Output(b))
			before := string(w.Output(b).Data["token"])
			if n := w.ExchangesOf(b, 2); n != 0 {
				t.Errorf("%d requests of a token for nothing", n)
			}
			w.Due(b)
			if n := w.ExchangesOf(b, 2); n != 1 || string(w.Output(b).Data["token"]) == before {
				t.Errorf("%d requests of a token when it was due", n)
			}
		})
	}
}

// A new layout that is written while the exchange for another token of the subject fails does not hide that it is due.
func TestLayoutWhileTheSubjectIsRenewed(t *testing.T) {
	w := world.New(t, world.SignsIn)
	b, renewed := w.Portal(), w.SignIn().AccessToken
	undo := w.Requests.Answer(world.Exchanges, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	w.PortalSecret("access_token", renewed)
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	b.Spec.Secret.Formats = []v1alpha1.Format{v1alpha1.FormatHeader}
	must.Succeed(t, w.K8s.Update(w.Ctx, b))
	w.ReconcileBinding(b)
	if w.Output(b).Data["header"] == nil {
		t.Error("the layout does not follow")
	}
	undo()
	w.Clock.Step(w.ReconcileBinding(b).RequeueAfter)
	if n := w.ExchangesOf(b, 3); n != 1 {
		t.Errorf("%d exchanges for the subject's new token, want one", n)
	}
	w.Expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
}
