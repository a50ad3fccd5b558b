// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

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
)

// portal makes a ready binding whose subject is an access token that somebody else keeps fresh in a Secret.
func (w *world) portal() *v1alpha1.ConfluenceTokenBinding {
	w.t.Helper()
	w.portalSecret("access_token", w.signIn().AccessToken)
	install := w.install()
	must(w.t, w.k8s.Create(w.ctx, install))
	w.reconcileResource(install)
	b := w.binding("portal")
	b.Spec.Subject = v1alpha1.Subject{AccessTokenSecretRef: &v1alpha1.SecretKeyReference{Name: "portal-session", Key: "access_token"}}
	must(w.t, w.k8s.Create(w.ctx, b))
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	return b
}

// portalSecret puts one key, and no other, into the Secret with the subject's token, which it makes if need be.
func (w *world) portalSecret(key, token string) {
	w.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "portal-session"}}
	must(w.t, client.IgnoreAlreadyExists(w.k8s.Create(w.ctx, s)))
	must(w.t, w.k8s.Get(w.ctx, client.ObjectKeyFromObject(s), s))
	s.Data = map[string][]byte{key: []byte(token)}
	must(w.t, w.k8s.Update(w.ctx, s))
}

// looksAt counts reads of a Secret's values since the last call.
func (w *world) looksAt(secret string) (since func() int) {
	n := 0
	w.writes.standIn("GET /api/v1/namespaces/"+w.ns+"/secrets/"+secret, func(r *http.Request) (*http.Response, error) {
		if !strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadata") {
			n++
		}
		return nil, nil //nolint:nilnil // it is passed on
	})
	return func() int {
		defer func() { n = 0 }()
		return n
	}
}

// exchangesOf counts the exchanges that some looks at a binding cost.
func (w *world) exchangesOf(b *v1alpha1.ConfluenceTokenBinding, looks int) int {
	w.t.Helper()
	w.requests.take()
	for range looks {
		w.reconcileBinding(b)
	}
	return w.requests.count(exchanges)
}

// Each change of the subject's token leads to one exchange, and nothing else that happens to its Secret leads to any.
func TestSubjectAccessToken(t *testing.T) {
	w := newWorld(t, signsIn)
	b := w.portal()
	w.pages(w.output(b))
	if n := w.exchangesOf(b, 2); n != 0 {
		t.Errorf("%d exchanges for nothing", n)
	}
	before := string(w.output(b).Data["token"])
	fresh := w.signIn().AccessToken
	w.portalSecret("access_token", fresh)
	if n := w.exchangesOf(b, 3); n != 1 || string(w.output(b).Data["token"]) == before {
		t.Errorf("%d exchanges for another token of the subject, and the token is the one from before: %v", n, string(w.output(b).Data["token"]) == before)
	}

	w.portalSecret("wrong", fresh)
	w.reconcileBinding(b)
	message := w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	if !strings.Contains(message, "key access_token of Secret "+w.ns+"/portal-session is missing") {
		t.Errorf("the remedy is %q", message)
	}
	w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if n := w.exchangesOf(b, 2); n != 0 {
		t.Errorf("%d exchanges without a token of the subject", n)
	}
	w.portalSecret("access_token", fresh)
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)

	// Gone, it is missed when it is needed, and its return is enough.
	must(t, w.k8s.Delete(w.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "portal-session"}}))
	if n := w.exchangesOf(b, 2); n != 0 {
		t.Errorf("%d exchanges when the subject's Secret went", n)
	}
	w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	w.due(b)
	w.reconcileBinding(b)
	message = w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	if !strings.Contains(message, v1alpha1.ReasonSecretNotFound) || !strings.Contains(message, "portal-session") {
		t.Errorf("the remedy is %q", message)
	}
	w.portalSecret("access_token", w.signIn().AccessToken)
	if n := w.exchangesOf(b, 2); n != 1 {
		t.Errorf("%d exchanges when it came back", n)
	}
	w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	w.noCanaries()
	if strings.Contains(w.logs.String(), fresh) {
		t.Error("the subject's token is in the log")
	}
}

// An edit of the Secret that leaves the token as it is costs one look at it, and no exchange: now, after a restart and after a
// rotation.
func TestSubjectSecretIsEdited(t *testing.T) {
	w := newWorld(t, signsIn, func(c *devzone.Config) { c.ZoneTokenLifetime = 24 * time.Hour })
	b := w.portal()
	looks := w.looksAt("portal-session")
	for _, edit := range []string{"once", "twice"} {
		w.label("portal-session", edit)
		if n := w.exchangesOf(b, 3); n != 0 {
			t.Errorf("%d exchanges for a label", n)
		}
		if n := looks(); n != 1 {
			t.Errorf("%d looks at the subject's token for one edit", n)
		}
		w.connect()
		if n := w.exchangesOf(b, 2); n != 0 {
			t.Errorf("%d exchanges after a restart", n)
		}
		if n := looks(); n != 1 {
			t.Errorf("%d looks after a restart", n)
		}
		w.due(b)
		if n := w.exchangesOf(b, 2); n != 1 {
			t.Errorf("%d exchanges when it was due", n)
		}
		looks()
		w.connect()
		w.reconcileBinding(b)
		if n := looks(); n != 0 {
			t.Errorf("%d looks when nothing was edited", n)
		}
	}
	w.portalSecret("access_token", w.signIn().AccessToken)
	if n := w.exchangesOf(b, 2); n != 1 {
		t.Errorf("%d exchanges for another token", n)
	}
}

// A Secret that an operator wrote which did not know the fingerprint costs nothing while its subject is unchanged, and gets
// one with the next token.
func TestSubjectFingerprintIsNew(t *testing.T) {
	w := newWorld(t, signsIn)
	b := w.portal()
	must(t, w.k8s.Patch(w.ctx, w.output(b), client.RawPatch(types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"`+v1alpha1.SubjectHashAnnotation+`":null}}}`))))
	w.connect()
	looks := w.looksAt("portal-session")
	if n := w.exchangesOf(b, 2); n != 0 {
		t.Errorf("%d exchanges at the upgrade", n)
	}
	if n := looks(); n != 0 {
		t.Errorf("%d looks at the upgrade", n)
	}
	w.due(b)
	w.reconcileBinding(b)
	w.label("portal-session", "edited")
	if n := w.exchangesOf(b, 2); n != 0 {
		t.Errorf("%d exchanges for a label", n)
	}
}

// A subject's token that has expired, or is none, needs a fresh one in its place; the condition says where.
func TestSubjectAccessTokenIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(*world){
		"expired":         func(w *world) { w.clock.Step(2 * time.Hour) },
		"no token":        func(w *world) { w.portalSecret("access_token", "eyJhbGciOiJub25lIn0.e30.") },
		"somebody else's": func(w *world) { w.portalSecret("access_token", strings.Repeat("x", 40)) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, signsIn)
			b := w.portal()
			spoil(w)
			w.reconcileBinding(b)
			w.clock.Step(2 * time.Hour)
			w.reconcileBinding(b)
			message := w.expect(b, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonSubjectTokenRejected)
			if !strings.Contains(message, "put a fresh access token into key access_token of Secret "+w.ns+"/portal-session") {
				t.Errorf("the remedy is %q", message)
			}
			w.portalSecret("access_token", w.signIn().AccessToken)
			w.reconcileBinding(b)
			w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		})
	}
}

// The application as itself needs a grant of its own and the zone's policies on its side.
func TestSubjectApplication(t *testing.T) {
	for name, forbidden := range map[string]bool{"allowed": false, "denied by a policy": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *devzone.Config) {
				c.Seed = seed.Default()
				c.Seed.Applications[0].Grants = []seed.Consent{{Resource: resourceIdentifier, Account: user, Sites: []string{site}}}
				if forbidden {
					c.Seed.Policies = append(c.Seed.Policies, seed.Policy{
						Name: "nobody-as-itself", Cedar: "forbid (principal is Keycard::Application, action, resource) when { !context.on_behalf };",
					})
				}
			})
			install, b := w.install(), w.binding("nightly")
			must(t, w.k8s.Create(w.ctx, install))
			w.reconcileResource(install)
			b.Spec.Subject = v1alpha1.Subject{Application: &v1alpha1.ApplicationSubject{}}
			must(t, w.k8s.Create(w.ctx, b))
			w.reconcileBinding(b)
			if forbidden {
				w.expect(b, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAccessDenied)
				w.expect(b, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonAccessDenied)
				return
			}
			w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.pages(w.output(b))
			before := string(w.output(b).Data["token"])
			if n := w.exchangesOf(b, 2); n != 0 {
				t.Errorf("%d requests of a token for nothing", n)
			}
			w.due(b)
			if n := w.exchangesOf(b, 2); n != 1 || string(w.output(b).Data["token"]) == before {
				t.Errorf("%d requests of a token when it was due", n)
			}
		})
	}
}

// A new layout that is written while the exchange for another token of the subject fails does not hide that it is due.
func TestLayoutWhileTheSubjectIsRenewed(t *testing.T) {
	w := newWorld(t, signsIn)
	b, renewed := w.portal(), w.signIn().AccessToken
	undo := w.requests.answer(exchanges, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	w.portalSecret("access_token", renewed)
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	b.Spec.Secret.Formats = []v1alpha1.Format{v1alpha1.FormatHeader}
	must(t, w.k8s.Update(w.ctx, b))
	w.reconcileBinding(b)
	if w.output(b).Data["header"] == nil {
		t.Error("the layout does not follow")
	}
	undo()
	w.clock.Step(w.reconcileBinding(b).RequeueAfter)
	if n := w.exchangesOf(b, 3); n != 1 {
		t.Errorf("%d exchanges for the subject's new token, want one", n)
	}
	w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
}
