// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/seed"
	"github.com/keycardai/keycard-operator/test/must"
)

// Portal makes a ready binding whose subject is an access token that somebody else keeps fresh in a Secret.
func (w *World) Portal() *v1alpha1.ConfluenceTokenBinding {
	w.T.Helper()
	w.PortalSecret("access_token", w.SignIn().AccessToken)
	install := w.Install()
	must.Succeed(w.T, w.K8s.Create(w.Ctx, install))
	w.ReconcileResource(install)
	b := w.Binding("portal")
	b.Spec.Subject = v1alpha1.Subject{AccessTokenSecretRef: &v1alpha1.SecretKeyReference{Name: "portal-session", Key: "access_token"}}
	must.Succeed(w.T, w.K8s.Create(w.Ctx, b))
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	return b
}

// PortalSecret puts one key, and no other, into the Secret with the subject's token, which it makes if need be.
func (w *World) PortalSecret(key, token string) {
	w.T.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: "portal-session"}}
	must.Succeed(w.T, client.IgnoreAlreadyExists(w.K8s.Create(w.Ctx, s)))
	must.Succeed(w.T, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(s), s))
	s.Data = map[string][]byte{key: []byte(token)}
	must.Succeed(w.T, w.K8s.Update(w.Ctx, s))
}

// LooksAt counts reads of a Secret's values since the last call.
func (w *World) LooksAt(secret string) (since func() int) {
	n := 0
	w.Writes.StandIn("GET /api/v1/namespaces/"+w.NS+"/secrets/"+secret, func(r *http.Request) (*http.Response, error) {
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

// ExchangesOf counts the exchanges that some looks at a binding cost.
func (w *World) ExchangesOf(b *v1alpha1.ConfluenceTokenBinding, looks int) int {
	w.T.Helper()
	w.Requests.Take()
	for range looks {
		w.ReconcileBinding(b)
	}
	return w.Requests.Count(Exchanges)
}

// How the zone is asked for a user.
const (
	UserID    = "usr-7c1f" // what the zone calls her
	Lookup    = "api GET /zones/zn-demo/users"
	UsersPath = "api GET /zones/"
)

// IdentifiedByID has the zone know Alice by an identifier of its own.
func IdentifiedByID(c *devzone.Config) {
	c.Seed = seed.Default()
	c.Seed.Users[0].Identifier = UserID
	c.Seed.Applications[0].MayImpersonate = []string{UserID}
}

// ClusterKeys publishes the keys that sign the cluster's ServiceAccount tokens where a zone can read them.
func ClusterKeys(t *testing.T) string {
	t.Helper()
	k, err := kubernetes.NewForConfig(Cluster.Config)
	must.Succeed(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys, err := k.Discovery().RESTClient().Get().AbsPath("/openid/v1/jwks").DoRaw(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		WriteJSON(w, string(keys))
	}))
	t.Cleanup(server.Close)
	return server.URL + "/jwks"
}

// MayActForAlice permits a workload of this cluster to act for her in her absence.
func (w *World) MayActForAlice(serviceAccount string) v1alpha1.AccessPolicy {
	return v1alpha1.AccessPolicy{Name: "reports-for-alice", Cedar: fmt.Sprintf(
		`permit (principal is Keycard::Application, action, resource)
when { context.impersonate && context has subject && context.subject.identifier == %q &&
  principal.identifier == "urn:kubernetes:%s:serviceaccount:%s:%s" };`, User, ClusterID, w.NS, serviceAccount)}
}
