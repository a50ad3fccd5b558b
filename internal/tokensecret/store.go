// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokensecret

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/index"
	"github.com/keycardai/keycard-operator/internal/namespaces"
	"github.com/keycardai/keycard-operator/internal/ownwrites"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/secretmeta"
	"github.com/keycardai/keycard-operator/internal/tokenfile"
)

// writeTimeout bounds a write of a token. It is finished even when the operator is told to stop: a
// token that was issued and not stored is lost.
const writeTimeout = 10 * time.Second

// Token is a token to be written, and what is remembered with it.
type Token struct {
	tokenfile.Token
	Note
}

// Memory remembers the last write to the output Secret of one binding until the cache shows it.
type Memory = ownwrites.Latest[*metav1.PartialObjectMetadata]

// Store reads and writes output Secrets.
type Store struct {
	client           client.Client
	live, namespaces client.Reader
}

// New returns a Store that reads metadata and bindings by c, whose bindings have the index
// index.Output, and writes by c. live reads from the server: values are never cached. namespaces
// reads namespaces.
func New(c client.Client, live, namespaces client.Reader) *Store {
	return &Store{client: c, live: live, namespaces: namespaces}
}

// Output is the output Secret of one binding in one reconcile.
type Output struct {
	store   *Store
	binding *v1alpha1.ConfluenceTokenBinding
	written *Memory
}

// Output returns the output Secret of binding b, which is as the server has it. written is kept
// between reconciles.
func (st *Store) Output(b *v1alpha1.ConfluenceTokenBinding, written *Memory) Output {
	return Output{store: st, binding: b, written: written}
}

func (o Output) key() types.NamespacedName {
	return types.NamespacedName{Namespace: o.binding.Namespace, Name: o.binding.Spec.Secret.Name}
}

// Read reads the metadata of the Secret, and refuses one that is not the binding's with a
// *problem.Problem. The cache is asked first. What it does not have is asked of the server where
// there was a Secret once: its next version may be on the way. Where there was none, that would be
// a request for each look of a new binding; the answer to the first write shows whose it is.
func (o Output) Read(ctx context.Context) (Secret, error) {
	key := o.key()
	m := secretmeta.New(key.Namespace, key.Name)
	err := o.store.client.Get(ctx, key, m)
	if err == nil {
		m = o.written.Newest(m)
	} else if apierrors.IsNotFound(err) && (o.binding.Status.ExpiresAt != nil || o.written.Remembers()) {
		if err = o.store.live.Get(ctx, key, m); err == nil {
			o.written.Wrote(m) // whoever wrote it: until the cache shows it, it is asked for again
		}
	}
	if apierrors.IsNotFound(err) {
		o.written.Forget()
		return Secret{}, o.mayMake(ctx)
	}
	if err != nil {
		return Secret{}, problem.Cluster("reading metadata of Secret "+key.String(), err)
	}
	s := Inspect(m, o.binding)
	switch ownerOf(s, o.binding) {
	case theirs:
		return Secret{}, problem.SecretTaken(m.Name, controllerOf(m))
	case overwritten:
		return Secret{}, o.withdraw(ctx, m)
	}
	return s, nil
}

// mayMake refuses to make a Secret in a namespace that is being deleted, or one that an older
// binding names too. One that exists is its owner's.
func (o Output) mayMake(ctx context.Context) error {
	// Its Secrets go before its bindings do: an exchange for one of them would be for nothing.
	// Where that can't be known, the write says it.
	key := o.key()
	if namespaces.Ending(ctx, o.store.namespaces, key.Namespace) {
		return problem.SecretInEndingNamespace(key.Name, 0)
	}
	var others v1alpha1.ConfluenceTokenBindingList
	if err := o.store.client.List(ctx, &others, client.InNamespace(key.Namespace), client.MatchingFields{index.Output: key.Name}); err != nil {
		return problem.Cluster("listing bindings of Secret "+key.Name, err)
	}
	for i := range others.Items {
		if other := &others.Items[i]; other.DeletionTimestamp.IsZero() && older(other, o.binding) {
			return problem.SecretOfOlderBinding(key.Name, other.Name)
		}
	}
	return nil
}

// Write applies the whole Secret in one request, so that all files change together. was is what the
// last look found. The answer has no values, and its managedFields say what is ours.
func (o Output) Write(ctx context.Context, was Secret, token Token) (Secret, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	data, err := tokenfile.Render(token.Token, formats(o.binding))
	if err != nil {
		return was, problem.TokenUnsendable(err)
	}
	held := Held{
		Life: refresh.Life{IssuedAt: token.IssuedAt, ExpiresAt: token.ExpiresAt}, Scopes: token.Scopes,
		SiteURL: token.SiteURL, CloudID: token.CloudID, Note: token.Note,
	}
	m, err := o.apply(ctx, was, o.content(was).WithAnnotations(held.annotations()).WithAnnotations(extra(o.binding)).WithData(data))
	if err != nil {
		return was, err
	}
	if _, ok := maker(m); ok && !was.Exists() {
		return was, o.withdraw(ctx, m)
	}
	log.FromContext(ctx).Info("wrote the token", "secret", m.Name, "expiresAt", token.ExpiresAt)
	return o.took(m), nil
}

// Relayout writes the token that is in the Secret into it again, as the binding wants it laid out
// now.
func (o Output) Relayout(ctx context.Context, was Secret, note Note) (Secret, error) {
	var live corev1.Secret
	if err := o.store.live.Get(ctx, o.key(), &live); err != nil {
		return was, problem.Cluster("reading Secret "+o.key().Name, err)
	}
	token, err := tokenfile.Parse(live.Data)
	if err != nil {
		// The next reconcile sees the change in the metadata and exchanges.
		return was, problem.SecretUnreadable(live.Name, err)
	}
	if live.ResourceVersion != was.meta.ResourceVersion {
		return was, problem.SecretChanging(live.Name)
	}
	return o.Write(ctx, was, Token{Token: token, Note: note})
}

// Empty takes the token out of the Secret. The labels and the ownership stay.
func (o Output) Empty(ctx context.Context, was Secret) (Secret, error) {
	m, err := o.apply(ctx, was, o.content(was))
	if err != nil {
		return was, err
	}
	log.FromContext(ctx).Info("removed the expired token", "secret", m.Name)
	return o.took(m), nil
}

// withdraw takes back what was applied to a Secret that turned out to be someone else's: made
// during the exchange, with other keys than ours, so that nothing of it was overwritten. An apply
// can't ask for a Secret that does not exist.
func (o Output) withdraw(ctx context.Context, m *metav1.PartialObjectMetadata) error {
	if _, err := o.apply(ctx, Secret{}, corev1ac.Secret(m.Name, m.Namespace).WithUID(m.UID)); err != nil {
		return err
	}
	return problem.SecretJustMade(m.Name)
}

// took remembers what was written.
func (o Output) took(m *metav1.PartialObjectMetadata) Secret {
	o.written.Wrote(m)
	return Inspect(m, o.binding)
}

// apply returns the metadata of what the server made of a Secret. The request goes by the metadata
// endpoint. Of a Secret that is ours by its controller reference, fields that someone else took are
// taken back.
func (o Output) apply(ctx context.Context, was Secret, secret *corev1ac.SecretApplyConfiguration) (*metav1.PartialObjectMetadata, error) {
	body, err := json.Marshal(secret)
	if err != nil {
		return nil, fmt.Errorf("encoding Secret %s: %w", *secret.Name, err)
	}
	options := []client.PatchOption{client.FieldOwner(v1alpha1.FieldManager)}
	if was.Exists() {
		options = append(options, client.ForceOwnership)
	}
	m := secretmeta.New(*secret.Namespace, *secret.Name)
	if err := o.store.client.Patch(ctx, m, client.RawPatch(types.ApplyPatchType, body), options...); err != nil {
		return nil, WriteProblem(*secret.Name, err)
	}
	return m, nil
}

// content is what the operator wants to own of the Secret, but for the token. For a Secret that is
// there already, the uid makes the server refuse the write when it was replaced by another of the
// same name meanwhile.
func (o Output) content(was Secret) *corev1ac.SecretApplyConfiguration {
	b := o.binding
	secret := corev1ac.Secret(b.Spec.Secret.Name, b.Namespace).
		WithType(corev1.SecretTypeOpaque).
		WithLabels(labels(b)).
		WithOwnerReferences(metav1ac.OwnerReference().
			WithAPIVersion(v1alpha1.GroupVersion.String()).WithKind("ConfluenceTokenBinding").
			WithName(b.Name).WithUID(b.UID).WithController(true).WithBlockOwnerDeletion(true))
	if was.Exists() {
		secret.WithUID(was.meta.UID)
	}
	return secret
}

// extra are the annotations that the spec wants.
func extra(b *v1alpha1.ConfluenceTokenBinding) map[string]string {
	extra := make(map[string]string, len(b.Spec.Secret.Annotations))
	for k, v := range b.Spec.Secret.Annotations {
		extra[k] = string(v)
	}
	return extra
}

func older(a, b *v1alpha1.ConfluenceTokenBinding) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Name < b.Name
}

func controllerOf(m *metav1.PartialObjectMetadata) string {
	if owner := metav1.GetControllerOf(m); owner != nil {
		return owner.Kind + " " + owner.Name
	}
	return ""
}
