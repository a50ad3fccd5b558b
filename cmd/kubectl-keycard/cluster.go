// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/catalog"
	"github.com/keycardai/keycard-operator/internal/consent"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/zones"
)

// cluster is what the person may do there.
type cluster struct {
	k8s       client.Client
	namespace string
}

func connect(o *options) (*cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: o.context}
	overrides.Context.Namespace = o.namespace
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	cfg, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the cluster: %w; check --kubeconfig and --context", err)
	}
	cfg.UserAgent = "kubectl-keycard/" + version
	cfg.Timeout = 30 * time.Second
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, fmt.Errorf("finding the namespace: %w; set --namespace", err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	return &cluster{k8s: c, namespace: namespace}, nil
}

// request finds what the person is asked for.
func (c *cluster) request(ctx context.Context, name string, allowInsecureLoopback bool) (consent.Request, error) {
	var (
		b       v1alpha1.ConfluenceTokenBinding
		install v1alpha1.KeycardResource
	)
	key := client.ObjectKey{Namespace: c.namespace, Name: name}
	if err := c.k8s.Get(ctx, key, &b); err != nil {
		return consent.Request{}, readProblem(err, "ConfluenceTokenBinding", "ctb", key)
	}
	switch {
	case b.Spec.Subject.User == "":
		return consent.Request{}, fmt.Errorf("ConfluenceTokenBinding %s acts for no person (it has no spec.subject.user), so there is nothing to consent to", key)
	case b.Spec.Suspend != nil && *b.Spec.Suspend:
		return consent.Request{}, fmt.Errorf("ConfluenceTokenBinding %s is suspended; set spec.suspend to false first", key)
	}
	installKey := b.ResourceKey()
	if err := c.k8s.Get(ctx, installKey, &install); err != nil {
		return consent.Request{}, readProblem(err, "KeycardResource", "kcr", installKey)
	}
	entries, err := catalog.Load()
	if err != nil {
		return consent.Request{}, fmt.Errorf("loading the catalog: %w", err)
	}
	entry, known := entries[install.Spec.CatalogEntry]
	if !known {
		return consent.Request{}, fmt.Errorf("KeycardResource %s has the catalog entry %q, which the plugin does not know; is it as new as the operator?", installKey, install.Spec.CatalogEntry)
	}
	if install.Status.ConsentClientID == "" {
		return consent.Request{}, fmt.Errorf("KeycardResource %s: %w; see its conditions (kubectl get kcr %s -n %s -o wide). With --consent-application=false the operator registers none",
			installKey, consent.ErrNotYet, installKey.Name, installKey.Namespace)
	}
	endpoint, err := c.authorizationEndpoint(ctx, &install, allowInsecureLoopback)
	if err != nil {
		return consent.Request{}, err
	}
	return consent.NewRequest(&b, &install, entry.Resource.Identifier, endpoint)
}

func (c *cluster) authorizationEndpoint(ctx context.Context, install *v1alpha1.KeycardResource, allowInsecureLoopback bool) (string, error) {
	issuer := install.Spec.Zone.IssuerURL()
	pool, err := zones.Pool(ctx, c.k8s, keycard.NewPool(keycard.Options{
		UserAgent: "kubectl-keycard/" + version, AllowInsecureLoopback: allowInsecureLoopback,
	}), install.Namespace, install.Spec.Zone.CABundle)
	if err != nil {
		return "", fmt.Errorf("reading the zone's certificate authority: %w", err)
	}
	zone, err := pool.Zone(issuer)
	if err == nil {
		var metadata keycard.ServerMetadata
		if metadata, err = zone.Metadata(ctx); err == nil {
			return metadata.AuthorizationEndpoint, nil
		}
	}
	if errors.Is(err, keycard.ErrEndpointNotAllowed) {
		return "", fmt.Errorf("%w; --allow-insecure-loopback allows it for a zone on this machine", err)
	}
	return "", fmt.Errorf("the zone %s does not say where to sign in: %w; it has to be reachable from this machine", issuer, err)
}

// readProblem says what to do when an object can't be read.
func readProblem(err error, kind, short string, key client.ObjectKey) error {
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%s %s does not exist; list what there is with: kubectl get %s -n %s", kind, key, short, key.Namespace)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("you may not read %s %s; ask for the ClusterRole keycard-operator-view in namespace %s, or let somebody run this who has it", kind, key, key.Namespace)
	case meta.IsNoMatchError(err):
		return errors.New("the cluster has no Keycard operator: it does not know the kind " + kind)
	}
	return fmt.Errorf("reading %s %s: %w", kind, key, err)
}

// requestToken asks the operator to try again at once. It gives the value of the request; an error says what to do
// instead.
func (c *cluster) requestToken(ctx context.Context, request consent.Request) (string, error) {
	b := &v1alpha1.ConfluenceTokenBinding{ObjectMeta: metav1.ObjectMeta{Namespace: request.Namespace, Name: request.Name}}
	asked := time.Now().UTC().Format(time.RFC3339Nano)
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RefreshRequestedAtAnnotation, asked)
	err := c.k8s.Patch(ctx, b, client.RawPatch(types.MergePatchType, []byte(patch)))
	if err == nil {
		return asked, nil
	}
	why := err.Error()
	if apierrors.IsForbidden(err) {
		why = "you may not change the binding"
	}
	return "", fmt.Errorf("The operator could not be asked to try at once: %s. It notices by itself, within half a minute as a rule and eleven minutes at most; somebody who may annotate the binding can make it try now:\n\n  kubectl annotate ctb %s -n %s --overwrite %s=%s\n", //nolint:revive,staticcheck // shown to the person as it is
		why, request.Name, request.Namespace, v1alpha1.RefreshRequestedAtAnnotation, asked)
}

// awaitReady waits until the binding has a token that was issued after the request.
func (c *cluster) awaitReady(ctx context.Context, out io.Writer, request consent.Request, asked string, timeout time.Duration) error {
	say(out, "Waiting up to %s until ConfluenceTokenBinding %s/%s is Ready ...", timeout, request.Namespace, request.Name)
	var b v1alpha1.ConfluenceTokenBinding
	key := client.ObjectKey{Namespace: request.Namespace, Name: request.Name}
	err := wait.PollUntilContextTimeout(ctx, 500*time.Millisecond, timeout, true, func(ctx context.Context) (bool, error) {
		if err := c.k8s.Get(ctx, key, &b); err != nil {
			if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
				return false, readProblem(err, "ConfluenceTokenBinding", "ctb", key)
			}
			return false, nil // it is asked again until the time is over
		}
		return decided(&b, asked), nil
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && !wait.Interrupted(err):
		return err
	}
	return verdict(out, &b, asked)
}

// decided tells whether the operator has tried since it was asked, and nothing more comes of it by itself. Without a
// request there is nothing to tell the states before and after by, but Ready.
func decided(b *v1alpha1.ConfluenceTokenBinding, asked string) bool {
	ready := meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionReady)
	if asked == "" {
		return ready
	}
	return b.Status.LastRefreshRequest == asked && (ready || meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionStalled))
}

// verdict says what came of it.
func verdict(out io.Writer, b *v1alpha1.ConfluenceTokenBinding, asked string) error {
	ready := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionReady)
	issued := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionTokenIssued)
	name := "ConfluenceTokenBinding " + b.Namespace + "/" + b.Name
	switch {
	case ready == nil:
		return fmt.Errorf("%s %w: the operator has not said anything about it; does it run?", name, errNotReady)
	case ready.Status != metav1.ConditionTrue:
		return fmt.Errorf("%s %w: %s: %s", name, errNotReady, ready.Reason, ready.Message)
	case issued != nil && issued.Reason == v1alpha1.ReasonRefreshFailing:
		return fmt.Errorf("%s has a token from before, but %w for another: %s", name, errNotReady, issued.Message)
	case asked != "" && b.Status.LastRefreshRequest != asked:
		return fmt.Errorf("%s has a token from before; the operator has not answered yet, so it %w for another: does it run?", name, errNotReady)
	}
	at := ""
	if b.Status.Site != nil {
		at = " for " + b.Status.Site.URL
	}
	say(out, "%s is Ready: Secret %s holds a token%s.", name, b.Spec.Secret.Name, at)
	return nil
}
