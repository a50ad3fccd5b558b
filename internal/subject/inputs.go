// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/credentials"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/redacted"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/secretmeta"
	"github.com/keycardai/keycard-operator/internal/tokensecret"
)

// Inputs are the Secrets that an attempt for one binding depends on, as one reconcile sees them. Each value is read from the
// server once at most. A token that is to be written may be another after each read, so Inputs are not kept.
type Inputs struct {
	*Subjects
	binding *v1alpha1.ConfluenceTokenBinding
	held    *tokensecret.Held
	memory  *Memory

	versions, values refresh.Secrets
	subjectVersion   string
	// credential and token are what was read so far.
	credential credentials.Client
	token      redacted.String
	// same is true when another version of the subject's Secret holds the token that was exchanged.
	same bool
}

// Inputs notes the versions of the Secrets that binding b refers to, from their cached metadata. held is the token in the output
// Secret; nil when there is none. m is what is remembered of the binding. The error is one of the cluster.
func (s *Subjects) Inputs(ctx context.Context, b *v1alpha1.ConfluenceTokenBinding, held *tokensecret.Held, m *Memory) (*Inputs, error) {
	i := &Inputs{Subjects: s, binding: b, held: held, memory: m}
	if ref := b.Spec.Application.ClientSecretRef; ref != nil {
		meta, err := i.metadata(ctx, ref.Name)
		if err != nil {
			return nil, err
		}
		i.versions.Client = secretmeta.Version(meta)
	}
	ref, ok := tokenRef(b)
	if !ok {
		return i, nil
	}
	meta, err := i.metadata(ctx, ref.Name)
	if err != nil {
		return nil, err
	}
	i.versions.Subject = secretmeta.Version(meta)
	i.subjectVersion = i.versions.Subject
	if b.Spec.Subject.RefreshTokenSecretRef != nil && renewedHere(meta, ref.Key) {
		// What the operator writes itself is no reason to do anything.
		i.versions.Subject, i.subjectVersion = string(meta.UID)+"/renewed", ""
		if held != nil {
			i.subjectVersion = held.SubjectVersion
		}
	}
	return i, nil
}

// metadata is that of a Secret that the user writes; it is empty when there is none.
func (i *Inputs) metadata(ctx context.Context, name string) (*metav1.PartialObjectMetadata, error) {
	m := secretmeta.New(i.binding.Namespace, name)
	err := i.deps.Client.Get(ctx, client.ObjectKeyFromObject(m), m)
	if client.IgnoreNotFound(err) != nil {
		return nil, problem.Cluster("reading metadata of Secret "+name, err)
	}
	return m, nil
}

// Versions returns the versions of the Secrets. Tools stamp annotations on Secrets, so another version only says that it is time
// to look at the value.
func (i *Inputs) Versions() refresh.Secrets { return i.versions }

// Values returns fingerprints of what was read of the Secrets so far; "" for what was not.
func (i *Inputs) Values() refresh.Secrets { return i.values }

// SubjectVersion returns the version of the Secret with the subject's token, to be noted with the token that it is exchanged for.
// It is "" when there is none.
func (i *Inputs) SubjectVersion() string { return i.subjectVersion }

// SubjectHash returns the fingerprint of the access token that was exchanged, to be noted with the token that came of it. It is ""
// for other subjects.
func (i *Inputs) SubjectHash() string {
	if i.binding.Spec.Subject.AccessTokenSecretRef == nil {
		return ""
	}
	return i.values.Subject
}

// Read reads values for their fingerprints, without using them. What can't be used has none. The error says that the cluster could
// not be asked.
func (i *Inputs) Read(ctx context.Context, ofClient, ofSubject bool) error {
	if ofClient {
		if _, err := i.clientSecret(ctx); unreadable(err) {
			return err
		}
	}
	if !ofSubject {
		return nil
	}
	if i.binding.Spec.Subject.AccessTokenSecretRef != nil {
		if _, err := i.accessToken(ctx); unreadable(err) {
			return err
		}
		return nil
	}
	ref := i.binding.Spec.Subject.RefreshTokenSecretRef
	token, err := credentials.ReadKey(ctx, i.deps.Live, i.local(ref.Name), ref.Key, "the person's refresh token")
	if err == nil {
		i.values.Subject = i.fingerprint(token.Reveal())
	}
	if unreadable(err) {
		return err
	}
	return nil
}

// unreadable reports that an error says nothing about what is in a Secret.
func unreadable(err error) bool {
	_, found := errors.AsType[*problem.Problem](err)
	return err != nil && !found
}

// Compare finds out whether another version of the subject's Secret holds the token that was exchanged, as after an edit of its
// metadata. With look, it may read the value to know. Each version is looked at once.
func (i *Inputs) Compare(ctx context.Context, look bool) error {
	if i.binding.Spec.Subject.AccessTokenSecretRef == nil || !i.Renewed() || i.held.SubjectHash == "" {
		return nil
	}
	found := i.subjectVersion + " " + i.held.SubjectHash
	if i.memory.same == found {
		i.same = true
		return nil
	}
	if !look && i.token.IsZero() {
		return nil
	}
	token, err := i.accessToken(ctx)
	if err != nil {
		return err
	}
	if i.same = i.fingerprint(token.Reveal()) == i.held.SubjectHash; i.same {
		i.memory.same = found
	}
	return nil
}

// Renewed reports whether the subject's Secret shows that the subject's token is another than the one that was exchanged. One that
// is gone is not.
func (i *Inputs) Renewed() bool {
	return i.held != nil && i.subjectVersion != "" && i.subjectVersion != i.held.SubjectVersion && !i.same
}

// accessToken reads the subject's access token.
func (i *Inputs) accessToken(ctx context.Context) (redacted.String, error) {
	if !i.token.IsZero() {
		return i.token, nil
	}
	ref := i.binding.Spec.Subject.AccessTokenSecretRef
	token, err := credentials.ReadKey(ctx, i.deps.Live, i.local(ref.Name), ref.Key, "the subject's access token")
	if err != nil {
		return token, err
	}
	i.token, i.values.Subject = token, i.fingerprint(token.Reveal())
	return token, nil
}

// clientSecret reads the client id and secret of the binding's application.
func (i *Inputs) clientSecret(ctx context.Context) (credentials.Client, error) {
	if !i.credential.Secret.IsZero() {
		return i.credential, nil
	}
	app, err := credentials.ReadClient(ctx, i.deps.Live, i.local(i.binding.Spec.Application.ClientSecretRef.Name), "the Keycard application's credential")
	if err != nil {
		return app, err
	}
	i.credential, i.values.Client = app, i.fingerprint(app.ID+"\n"+app.Secret.Reveal())
	return app, nil
}

// fingerprint is of the subject's token, which goes into an annotation, and of credentials, which stays in memory. A token is long
// and random, so no one guesses it from that; with the key, the fingerprint does not even tell which bindings have the same one.
func (i *Inputs) fingerprint(secret string) string {
	mac := hmac.New(sha256.New, []byte(i.binding.UID))
	_, _ = mac.Write([]byte(secret))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

func (i *Inputs) local(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: i.binding.Namespace, Name: name}
}

// tokenRef is where the subject's token is; false when the subject needs none.
func tokenRef(b *v1alpha1.ConfluenceTokenBinding) (v1alpha1.SecretKeyReference, bool) {
	for _, ref := range []*v1alpha1.SecretKeyReference{b.Spec.Subject.AccessTokenSecretRef, b.Spec.Subject.RefreshTokenSecretRef} {
		if ref != nil {
			return *ref, true
		}
	}
	return v1alpha1.SecretKeyReference{}, false
}
