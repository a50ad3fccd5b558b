// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
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
	"github.com/keycardai/keycard-operator/internal/namespaces"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/tokenfile"
)

// secretMeta is the metadata of a Secret, for reads and writes that never carry its values back.
func secretMeta(namespace, name string) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	m.Namespace, m.Name = namespace, name
	return m
}

// loadSecret reads the output Secret's metadata and refuses one that is somebody else's. The cache is asked first. What it
// does not have is asked of the server where there was a Secret once: its next version may be on the way. Where there was
// none, that would be a request for each look of a new binding; the answer to the first write shows whose it is.
func (r *Reconciler) loadSecret(ctx context.Context, s *scope) error {
	m := secretMeta(s.binding.Namespace, s.binding.Spec.Secret.Name)
	key := client.ObjectKeyFromObject(m)
	err := r.Client.Get(ctx, key, m)
	if err == nil {
		m = r.secrets.Newest(s.key(), m)
	} else if apierrors.IsNotFound(err) && (s.before.Status.ExpiresAt != nil || r.secrets.Remembers(s.key())) {
		if err = r.Live.Get(ctx, key, m); err == nil {
			r.secrets.Wrote(s.key(), m) // whoever wrote it: until the cache shows it, it is asked for again
		}
	}
	if apierrors.IsNotFound(err) {
		r.secrets.Forget(s.key())
		// Its Secrets go before its bindings do: an exchange for one of them would be for nothing. Where that can't be
		// known, the write says it.
		if namespaces.Ending(ctx, r.namespaces(), s.binding.Namespace) {
			return problem.Waiting(v1alpha1.ReasonSecretWriteFailed, "Secret %s can't be made: the namespace is being deleted", key.Name)
		}
		return r.yield(ctx, s)
	}
	if err != nil {
		return fmt.Errorf("reading metadata of Secret %s: %w", key, err)
	}
	return r.claim(ctx, s, m)
}

// claim takes a Secret for the binding's, or refuses it.
func (r *Reconciler) claim(ctx context.Context, s *scope, m *metav1.PartialObjectMetadata) error {
	switch {
	case s.strayed(m):
		// It is ours, and its owner is put right with the next write.
	case !metav1.IsControlledBy(m, s.binding):
		return problem.Blocked(v1alpha1.ReasonSecretConflict, "Secret %s exists and %s; it is left alone: remove it, or bind to another name",
			m.Name, ownerOf(m))
	case s.found.ExpiresAt == nil && madeBefore(m):
		// The answer to the first write was lost, or we ended before we could take it back.
		return r.withdraw(ctx, s, m)
	}
	s.hold(m)
	return nil
}

// strayed tells of a Secret that nothing controls whether it is the binding's own, which somebody took the owner from: all else
// is as the operator wrote it, and the token is the one that status speaks of. A copy has not our fields, and a binding that
// was made anew has no such status.
func (s *scope) strayed(m *metav1.PartialObjectMetadata) bool {
	if metav1.GetControllerOf(m) != nil {
		return false
	}
	held := heldIn(m)
	return held != nil && intact(m, nil) &&
		s.found.IssuedAt != nil && s.found.IssuedAt.Time.Equal(held.life.IssuedAt) &&
		s.found.ExpiresAt != nil && s.found.ExpiresAt.Time.Equal(held.life.ExpiresAt)
}

// yield leaves a Secret that is not there yet to an older binding that names it too. One that exists is its owner's.
func (r *Reconciler) yield(ctx context.Context, s *scope) error {
	var others v1alpha1.ConfluenceTokenBindingList
	if err := r.Client.List(ctx, &others, client.InNamespace(s.binding.Namespace), client.MatchingFields{outputIndex: s.binding.Spec.Secret.Name}); err != nil {
		return fmt.Errorf("listing bindings of Secret %s: %w", s.binding.Spec.Secret.Name, err)
	}
	for i := range others.Items {
		if o := &others.Items[i]; o.DeletionTimestamp.IsZero() && older(o, s.binding) {
			return problem.Blocked(v1alpha1.ReasonSecretConflict, "Secret %s is named by ConfluenceTokenBinding %s too, which is older; bind to another name, or remove that binding",
				s.binding.Spec.Secret.Name, o.Name)
		}
	}
	return nil
}

func older(a, b *v1alpha1.ConfluenceTokenBinding) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Name < b.Name
}

func ownerOf(m *metav1.PartialObjectMetadata) string {
	if owner := metav1.GetControllerOf(m); owner != nil {
		return fmt.Sprintf("belongs to %s %s", owner.Kind, owner.Name)
	}
	return "was not made by this binding"
}

// heldIn reads from the Secret's annotations which token is in it; nil when they can't be understood.
func heldIn(m *metav1.PartialObjectMetadata) *held {
	a, ours := m.Annotations, ownedBy(m, v1alpha1.FieldManager, metav1.ManagedFieldsOperationApply).Metadata.Annotations
	note := func(key string) string { // one that need not be there; what somebody else wrote is none
		if !ours.has(key) {
			return ""
		}
		return a[key]
	}
	issued, err := time.Parse(time.RFC3339, a[v1alpha1.IssuedAtAnnotation])
	if err != nil {
		return nil
	}
	expires, err := time.Parse(time.RFC3339, a[v1alpha1.ExpiresAtAnnotation])
	if err != nil || !expires.After(issued) {
		return nil
	}
	return &held{
		life:           refresh.Life{IssuedAt: issued, ExpiresAt: expires},
		exchangeHash:   a[v1alpha1.ExchangeHashAnnotation],
		specHash:       a[v1alpha1.SpecHashAnnotation],
		layoutHash:     a[v1alpha1.LayoutHashAnnotation],
		subjectVersion: note(v1alpha1.SubjectVersionAnnotation),
		scopes:         strings.Fields(a[v1alpha1.ScopesAnnotation]),
		siteURL:        a[v1alpha1.SiteURLAnnotation],
		cloudID:        a[v1alpha1.CloudIDAnnotation],
		lifetimeNote:   note(v1alpha1.LifetimeNoteAnnotation),
		verdict:        verdict(note(v1alpha1.VerdictAnnotation)),
		subjectHash:    note(v1alpha1.SubjectHashAnnotation),
		request:        shown(note(v1alpha1.RefreshRequestAnnotation)),
	}
}

// bookkeeping lists the annotations that hold the schedule's memory.
var bookkeeping = []string{
	v1alpha1.IssuedAtAnnotation, v1alpha1.ExpiresAtAnnotation,
	v1alpha1.ExchangeHashAnnotation, v1alpha1.SpecHashAnnotation, v1alpha1.LayoutHashAnnotation,
	v1alpha1.ScopesAnnotation, v1alpha1.SiteURLAnnotation, v1alpha1.CloudIDAnnotation,
}

// ensureSecret writes the token that was exchanged for, or the present one in another layout.
func (r *Reconciler) ensureSecret(ctx context.Context, s *scope) error {
	if s.minted != nil {
		return r.writeSecret(ctx, s, *s.minted)
	}
	// The layout follows even while the next token is waited for.
	if s.laidOut() {
		return nil
	}
	if s.pausing && s.attempt.at == stepSecret {
		return s.attempt.pausedBy()
	}
	if s.held.layoutHash == s.wantLayout && !r.attempts.mayRepair(s.key(), s.now) {
		return problem.Throttled(refresh.MinInterval, v1alpha1.ReasonThrottled, "the labels, annotations or owner of Secret %s were put right too often in a short time; is another program changing them?", s.secret.Name)
	}
	return r.relayout(ctx, s)
}

// laidOut tells whether nothing of the Secret but its token could be wrong.
func (s *scope) laidOut() bool { return !s.usable() || s.held.layoutHash == s.wantLayout && s.dressed }

// relayout writes the token that is in the Secret into it again, in the layout that is wanted now.
func (r *Reconciler) relayout(ctx context.Context, s *scope) error {
	var live corev1.Secret
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(s.secret), &live); err != nil {
		return fmt.Errorf("reading Secret %s: %w", s.secret.Name, err)
	}
	token, err := tokenfile.Parse(live.Data)
	if err != nil {
		// The next reconcile sees the change in the metadata and exchanges.
		return problem.Passing(v1alpha1.ReasonSecretWriteFailed, "Secret %s does not hold a token that can be laid out again: %v", live.Name, err)
	}
	if live.ResourceVersion != s.secret.ResourceVersion {
		return problem.Passing(v1alpha1.ReasonSecretConflict, "Secret %s is being changed by somebody else", live.Name)
	}
	if s.subjectRenewed() {
		s.subjectVersion = s.held.subjectVersion // this token is still of the one before
	}
	return r.writeSecret(ctx, s, minted{Token: token, lifetimeNote: s.held.lifetimeNote, subjectHash: s.held.subjectHash, verdict: s.held.verdict})
}

// writeSecret applies the whole Secret in one request, so that all files change together. The request
// goes by the metadata endpoint: the answer has no values, and its managedFields say what is ours.
func (r *Reconciler) writeSecret(ctx context.Context, s *scope, token minted) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	data, err := tokenfile.Render(token.Token, s.formats)
	if err != nil {
		return problem.NeedsPerson(v1alpha1.ReasonTokenUnusable, "the zone issued a token that no client can send: %v", err)
	}
	m, err := r.applySecret(ctx, s, s.secretApply(token, data))
	if err != nil {
		return writeProblem(s.binding.Spec.Secret.Name, err)
	}
	if _, ok := maker(m); ok && s.secret == nil {
		return r.withdraw(ctx, s, m)
	}
	r.secrets.Wrote(s.key(), m)
	s.hold(m)
	log.FromContext(ctx).Info("wrote the token", "secret", m.Name, "expiresAt", token.ExpiresAt)
	return nil
}

// applySecret gives the metadata of what the server made of it. Of a Secret that is ours by its controller reference, fields
// that somebody else took are taken back.
func (r *Reconciler) applySecret(ctx context.Context, s *scope, secret *corev1ac.SecretApplyConfiguration) (*metav1.PartialObjectMetadata, error) {
	body, err := json.Marshal(secret)
	if err != nil {
		return nil, fmt.Errorf("encoding Secret %s: %w", *secret.Name, err)
	}
	options := []client.PatchOption{client.FieldOwner(v1alpha1.FieldManager)}
	if s.secret != nil {
		options = append(options, client.ForceOwnership)
	}
	m := secretMeta(*secret.Namespace, *secret.Name)
	return m, r.Client.Patch(ctx, m, client.RawPatch(types.ApplyPatchType, body), options...) //nolint:wrapcheck // writeProblem tells what it means
}

// withdraw takes back what was applied to a Secret that turned out to be somebody else's: made during the exchange, with
// other keys than ours, so that nothing of it was overwritten. An apply can't ask for a Secret that does not exist.
func (r *Reconciler) withdraw(ctx context.Context, s *scope, m *metav1.PartialObjectMetadata) error {
	nothing := corev1ac.Secret(m.Name, m.Namespace).WithUID(m.UID)
	if _, err := r.applySecret(ctx, s, nothing); err != nil {
		return writeProblem(m.Name, err)
	}
	return problem.Passing(v1alpha1.ReasonSecretConflict, "Secret %s was made by somebody else a moment ago; it is left alone: remove it, or bind to another name", m.Name)
}

// expire takes an expired token out of the Secret, if the user wants that. The labels and the ownership stay.
func (r *Reconciler) expire(ctx context.Context, s *scope) error {
	if s.binding.Spec.Secret.OnExpiry != v1alpha1.RemoveExpired || s.held == nil || !s.held.life.Expired(s.now) || s.suspended() {
		return nil
	}
	empty := s.secretApply(minted{}, nil)
	empty.Annotations = nil
	m, err := r.applySecret(ctx, s, empty)
	if err != nil {
		return writeProblem(s.secret.Name, err)
	}
	r.secrets.Wrote(s.key(), m)
	s.hold(m)
	log.FromContext(ctx).Info("removed the expired token", "secret", m.Name)
	return nil
}

// secretApply is what the operator wants to own of the Secret. For a Secret that is there already, the
// uid makes the server refuse the write when it was replaced by another of the same name meanwhile.
func (s *scope) secretApply(token minted, data map[string][]byte) *corev1ac.SecretApplyConfiguration {
	b, spec := s.binding, s.binding.Spec.Secret
	annotations := map[string]string{
		v1alpha1.IssuedAtAnnotation:     token.IssuedAt.UTC().Format(time.RFC3339),
		v1alpha1.ExpiresAtAnnotation:    token.ExpiresAt.UTC().Format(time.RFC3339),
		v1alpha1.ExchangeHashAnnotation: s.wantExchange,
		v1alpha1.SpecHashAnnotation:     s.wantSpec,
		v1alpha1.LayoutHashAnnotation:   s.wantLayout,
		v1alpha1.ScopesAnnotation:       strings.Join(token.Scopes, " "),
		v1alpha1.SiteURLAnnotation:      token.SiteURL,
		v1alpha1.CloudIDAnnotation:      token.CloudID,
	}
	for key, note := range map[string]string{
		v1alpha1.LifetimeNoteAnnotation: token.lifetimeNote,
		v1alpha1.VerdictAnnotation:      string(token.verdict), v1alpha1.SubjectVersionAnnotation: s.subjectVersion,
		v1alpha1.SubjectHashAnnotation: token.subjectHash, v1alpha1.RefreshRequestAnnotation: s.binding.Status.LastRefreshRequest,
	} {
		if note != "" {
			annotations[key] = note
		}
	}
	for k, v := range spec.Annotations {
		annotations[k] = string(v)
	}
	secret := corev1ac.Secret(spec.Name, b.Namespace).
		WithType(corev1.SecretTypeOpaque).
		WithLabels(s.labels()).
		WithAnnotations(annotations).
		WithOwnerReferences(metav1ac.OwnerReference().
			WithAPIVersion(v1alpha1.GroupVersion.String()).WithKind("ConfluenceTokenBinding").
			WithName(b.Name).WithUID(b.UID).WithController(true).WithBlockOwnerDeletion(true)).
		WithData(data)
	if s.secret != nil {
		secret.WithUID(s.secret.UID)
	}
	return secret
}

// labels are those of the Secret.
func (s *scope) labels() map[string]string {
	labels := map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
	for k, v := range s.binding.Spec.Secret.Labels {
		labels[k] = string(v)
	}
	return labels
}

// writeProblem says what a refused write of the Secret means, in words of its own: an admission webhook may
// quote values in its.
func writeProblem(name string, err error) error {
	switch {
	case apierrors.IsConflict(err):
		return problem.Passing(v1alpha1.ReasonSecretConflict, "Secret %s is being changed by somebody else: %s", name, apierrors.ReasonForError(err))
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		// It does not come back, so there is no hurry. The token is kept all the same.
		return problem.Throttled(refresh.SlowRetryAfter(1, name), v1alpha1.ReasonSecretWriteFailed, "Secret %s can't be made: the namespace is being deleted", name)
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsUnauthorized(err), apierrors.IsBadRequest(err):
		return problem.Passing(v1alpha1.ReasonSecretWriteFailed, "the cluster refused the write of Secret %s (%s); %s; it is retried, and the token is kept",
			name, apierrors.ReasonForError(err), refusal(err))
	}
	p := problem.FromCluster(fmt.Errorf("writing Secret %s: %w", name, err))
	p.Reason = v1alpha1.ReasonSecretWriteFailed
	return p
}
