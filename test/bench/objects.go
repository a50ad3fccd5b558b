// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone/seed"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// The namespaces: of the operator's objects, of the bare client's, and of Secrets that nobody asks for.
const (
	namespace          = "apps"
	bareNamespace      = "bare"
	unrelatedNamespace = "unrelated"
)

// The KeycardResources of the two zones.
const (
	lasting  = "lasting"
	fleeting = "fleeting"
)

// The Secrets with the credentials of the zones' default seed.
const (
	accountSecret     = "service-account"
	oauthAppSecret    = "oauth-app"
	applicationSecret = "application"
)

// newClient makes a client that keeps to a limit; nil means none.
func newClient(cfg *rest.Config, limiter flowcontrol.RateLimiter) (client.Client, error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	cfg = rest.CopyConfig(cfg)
	if cfg.QPS, cfg.RateLimiter = -1, limiter; limiter == nil {
		cfg.RateLimiter = flowcontrol.NewFakeAlwaysRateLimiter()
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return c, nil
}

// each does something for each of n objects, some at once.
func each(ctx context.Context, n, atOnce int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// adminAtOnce is how many requests of the administrator are under way at once.
const adminAtOnce = 16

// install makes the namespaces, the credentials and a KeycardResource for each zone, and measures the operator without
// bindings.
func (b *bench) install(ctx context.Context) error {
	b.Say("installing both zones")
	b.Later(b.stopOperator)
	for _, name := range []string{namespace, bareNamespace, unrelatedNamespace} {
		if err := b.admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return fmt.Errorf("making namespace %s: %w", name, err)
		}
	}
	s := seed.Default()
	account, app, application := s.ServiceAccounts[0], s.Atlassian.Apps[0], s.Applications[0].Credentials[0]
	for _, o := range []client.Object{
		credential(accountSecret, account.ClientID, account.ClientSecret),
		credential(oauthAppSecret, app.ClientID, app.ClientSecret),
		credential(applicationSecret, application.Identifier, application.Password),
		resource(lasting, b.lasting), resource(fleeting, b.fleeting),
	} {
		if err := b.admin.Create(ctx, o); err != nil {
			return fmt.Errorf("making %s: %w", o.GetName(), err)
		}
	}
	if err := b.startOperator(ctx, b.lasting); err != nil {
		return err
	}
	for _, name := range []string{lasting, fleeting} {
		if err := b.awaitInstalled(ctx, name); err != nil {
			return err
		}
	}
	if err := b.settle(ctx, 0); err != nil {
		return err
	}
	var err error
	if b.emptyRSS, err = residentBytes(b.operator.PID(), now); err != nil {
		return err
	}
	return b.stopOperator()
}

func (b *bench) awaitInstalled(ctx context.Context, name string) error {
	var r v1alpha1.KeycardResource
	err := program.Until(ctx, b.patience(), func(ctx context.Context) (bool, error) {
		err := b.admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &r)
		return meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionReady), err
	})
	if err != nil {
		return fmt.Errorf("waiting for KeycardResource %s: %w: %v", name, err, r.Status.Conditions)
	}
	return nil
}

func credential(name, id, secret string) client.Object {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Data:       map[string][]byte{v1alpha1.ClientIDKey: []byte(id), v1alpha1.ClientSecretKey: []byte(secret)},
	}
}

func resource(name string, z *zone) client.Object {
	return &v1alpha1.KeycardResource{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.KeycardResourceSpec{
			Zone: v1alpha1.ZoneReference{
				ID: z.ZoneID, Issuer: z.Issuer, APIURL: z.APIURL,
				ServiceAccountSecretRef: v1alpha1.LocalSecretReference{Name: accountSecret},
			},
			CatalogEntry:      "confluence",
			OAuthAppSecretRef: v1alpha1.LocalSecretReference{Name: oauthAppSecret},
		},
	}
}

// binding is one of the bindings, of a KeycardResource.
func binding(namespace, resource string, i int) *v1alpha1.ConfluenceTokenBinding {
	return &v1alpha1.ConfluenceTokenBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ConfluenceTokenBinding"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("app-%05d", i)},
		Spec: v1alpha1.ConfluenceTokenBindingSpec{
			ResourceRef: v1alpha1.KeycardResourceReference{Name: resource},
			Application: v1alpha1.Application{ClientSecretRef: &v1alpha1.LocalSecretReference{Name: applicationSecret}},
			Subject:     v1alpha1.Subject{User: "alice@example.com"},
			Scopes:      []v1alpha1.Scope{"read:confluence-content.all"},
			Secret:      v1alpha1.OutputSecret{Name: outputName(i)},
		},
	}
}

func outputName(i int) string { return fmt.Sprintf("app-%05d-token", i) }

func (b *bench) makeBindings(ctx context.Context, namespace string) error {
	return each(ctx, b.bindings, adminAtOnce, func(ctx context.Context, i int) error {
		if err := b.admin.Create(ctx, binding(namespace, lasting, i)); err != nil {
			return fmt.Errorf("making a binding: %w", err)
		}
		return nil
	})
}
