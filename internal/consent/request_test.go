// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package consent_test

import (
	"net/url"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/consent"
)

func TestNewRequest(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.ConfluenceTokenBinding, *v1alpha1.KeycardResource)
		want   func(*consent.Request)
		err    error
	}{
		"of a binding": {func(*v1alpha1.ConfluenceTokenBinding, *v1alpha1.KeycardResource) {}, func(*consent.Request) {}, nil},
		"of a ServiceAccount": {func(b *v1alpha1.ConfluenceTokenBinding, _ *v1alpha1.KeycardResource) {
			b.Spec.Application.ServiceAccountName = "wiki"
		}, func(r *consent.Request) { r.Application = "wiki" }, nil},
		"with scopes of its own": {func(b *v1alpha1.ConfluenceTokenBinding, _ *v1alpha1.KeycardResource) {
			b.Spec.Scopes = []v1alpha1.Scope{"c"}
		}, func(r *consent.Request) { r.Used = []string{"c"} }, nil},
		"with all the scopes": {func(b *v1alpha1.ConfluenceTokenBinding, _ *v1alpha1.KeycardResource) {
			b.Spec.Scopes = []v1alpha1.Scope{"a", "b"}
		}, func(*consent.Request) {}, nil},
		"for nobody":             {func(b *v1alpha1.ConfluenceTokenBinding, _ *v1alpha1.KeycardResource) { b.Spec.Subject.User = "" }, nil, consent.ErrUnknown},
		"without an application": {func(_ *v1alpha1.ConfluenceTokenBinding, k *v1alpha1.KeycardResource) { k.Status.ConsentClientID = "" }, nil, consent.ErrNotYet},
		"for nobody and without it": {func(b *v1alpha1.ConfluenceTokenBinding, k *v1alpha1.KeycardResource) {
			b.Spec.Subject.User, k.Status.ConsentClientID = "", ""
		}, nil, consent.ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			b := &v1alpha1.ConfluenceTokenBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "reports"}}
			b.Spec.Subject.User = "alice"
			install := &v1alpha1.KeycardResource{}
			install.Status.ConsentClientID, install.Status.Scopes = "client", []v1alpha1.Scope{"b", "a"}
			tt.change(b, install)
			got, err := consent.NewRequest(b, install, "urn:r", "https://zone/authorize")
			if tt.err != nil {
				g.Expect(err).To(MatchError(tt.err))
				return
			}
			want := consent.Request{
				Namespace: "team", Name: "reports", Application: "reports", User: "alice", ResourceName: "Confluence",
				Resource: "urn:r", Scopes: []string{"a", "b"}, AuthorizationEndpoint: "https://zone/authorize", ClientID: "client",
			}
			tt.want(&want)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(got).To(Equal(want))
		})
	}
}

// What is registered covers a page on any port of one's own machine, and the operator's.
func TestRedirectURIs(t *testing.T) {
	g := NewWithT(t)
	own := []string{"http://127.0.0.1/-/callback", "http://127.0.0.1:8765/-/callback"}
	g.Expect(consent.RedirectURIs(nil)).To(Equal(own))
	base, err := url.Parse("https://consent.example.com/keycard")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(consent.RedirectURIs(base)).To(Equal(append(own, "https://consent.example.com/keycard/-/callback")))
}
