// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package credentials reads what users put into Secrets: client ids, client secrets and tokens. Values
// are read from the server each time and kept no longer than a reconcile. Problems name the Secret and
// the key, never a value.
package credentials

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/redacted"
)

// Client is an OAuth client's id and secret.
type Client struct {
	ID     string
	Secret redacted.String
}

// ReadClient reads a client id and secret from the keys client_id and client_secret. what says what they
// are of, for the message: "the Atlassian OAuth app". The error is an *problem.Problem, or one of the cluster.
func ReadClient(ctx context.Context, live client.Reader, key types.NamespacedName, what string) (Client, error) {
	secret, err := read(ctx, live, key, what, v1alpha1.ClientIDKey, v1alpha1.ClientSecretKey)
	if err != nil {
		return Client{}, err
	}
	id, err := value(secret, v1alpha1.ClientIDKey)
	if err != nil {
		return Client{}, err
	}
	password, err := value(secret, v1alpha1.ClientSecretKey)
	if err != nil {
		return Client{}, err
	}
	return Client{ID: id.Reveal(), Secret: password}, nil
}

// ReadKey reads one key of a Secret. what says what it is, for the message.
func ReadKey(ctx context.Context, live client.Reader, key types.NamespacedName, dataKey, what string) (redacted.String, error) {
	_, token, err := ReadSecret(ctx, live, key, dataKey, what)
	return token, err
}

// ReadSecret reads one key of a Secret, and gives the Secret too, for who wants to write it.
func ReadSecret(ctx context.Context, live client.Reader, key types.NamespacedName, dataKey, what string) (*corev1.Secret, redacted.String, error) {
	secret, err := read(ctx, live, key, what, dataKey)
	if err != nil {
		return nil, redacted.String{}, err
	}
	token, err := value(secret, dataKey)
	return secret, token, err
}

func read(ctx context.Context, live client.Reader, key types.NamespacedName, what string, keys ...string) (*corev1.Secret, error) {
	var secret corev1.Secret
	err := live.Get(ctx, key, &secret)
	if apierrors.IsNotFound(err) {
		return nil, problem.SecretNotFound(key, what, keys...)
	}
	if err != nil {
		return nil, problem.Cluster("reading Secret "+key.String(), err)
	}
	return &secret, nil
}

// maxValue bounds a credential, in bytes; the longest real ones are tokens of a few KiB.
const maxValue = 64 << 10

func value(secret *corev1.Secret, key string) (redacted.String, error) {
	raw, ok := secret.Data[key]
	text := string(raw)
	var flaw problem.Flaw
	switch {
	case !ok:
		flaw = problem.Missing
	case text == "":
		flaw = problem.Empty
	case len(text) > maxValue:
		flaw = problem.TooLong
	case !utf8.ValidString(text):
		flaw = problem.NotText
	case strings.TrimSpace(text) != text:
		flaw = problem.Padded
	case strings.ContainsFunc(text, unicode.IsControl):
		flaw = problem.ControlCharacter
	default:
		return redacted.New(text), nil
	}
	return redacted.String{}, problem.SecretInvalid(client.ObjectKeyFromObject(secret), key, flaw)
}
