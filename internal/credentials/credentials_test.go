// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/internal/credentials"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// reader has one Secret, or an error.
type reader struct {
	client.Reader
	data map[string][]byte
	err  error
}

func (r reader) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	secret := o.(*corev1.Secret)
	secret.Namespace, secret.Name, secret.Data = key.Namespace, key.Name, r.data
	return r.err
}

var key = types.NamespacedName{Namespace: "ns", Name: "app"}

func TestReadClient(t *testing.T) {
	pair := func(id, secret string) map[string][]byte {
		return map[string][]byte{"client_id": []byte(id), "client_secret": []byte(secret)}
	}
	tests := map[string]struct {
		data map[string][]byte
		err  error
		says string // "" means accepted
	}{
		"good":                  {pair("id", "canary"), nil, ""},
		"not there":             {nil, apierrors.NewNotFound(corev1.Resource("secrets"), "app"), "SecretNotFound: Secret ns/app with the app's credential does not exist. Create it with the keys client_id and client_secret"},
		"no id":                 {map[string][]byte{"client_secret": []byte("canary")}, nil, "SecretInvalid: Key client_id of Secret ns/app is missing"},
		"no secret":             {map[string][]byte{"client_id": []byte("id")}, nil, "SecretInvalid: Key client_secret of Secret ns/app is missing"},
		"empty":                 {pair("id", ""), nil, "SecretInvalid: Key client_secret of Secret ns/app is empty"},
		"newline at the end":    {pair("id", "canary\n"), nil, "SecretInvalid: Key client_secret of Secret ns/app begins or ends with a space or a newline"},
		"space at the front":    {pair(" id", "canary"), nil, "SecretInvalid: Key client_id of Secret ns/app begins or ends with a space or a newline"},
		"newline in the middle": {pair("id", "can\nary"), nil, "SecretInvalid: Key client_secret of Secret ns/app has a control character"},
		"not text":              {pair("id", "canary\xff"), nil, "SecretInvalid: Key client_secret of Secret ns/app is not text"},
		"far too long":          {pair("id", strings.Repeat("canary", 20000)), nil, "SecretInvalid: Key client_secret of Secret ns/app is longer than 64 KiB"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := credentials.ReadClient(t.Context(), reader{data: tc.data, err: tc.err}, key, "the app's credential")
			if tc.says == "" {
				if err != nil || got.ID != "id" || got.Secret.Reveal() != "canary" {
					t.Fatalf("read %+v, %v", got, err)
				}
				return
			}
			var problem *problem.Problem
			if !errors.As(err, &problem) || !strings.HasPrefix(err.Error(), tc.says) || strings.Contains(err.Error(), "canary") {
				t.Errorf("said %v", err)
			}
		})
	}
	t.Run("the cluster fails", func(t *testing.T) {
		_, err := credentials.ReadClient(t.Context(), reader{err: errors.New("down")}, key, "x")
		var problem *problem.Problem
		if err == nil || errors.As(err, &problem) {
			t.Errorf("said %v", err)
		}
	})
}

func TestReadKey(t *testing.T) {
	r := reader{data: map[string][]byte{"access_token": []byte("canary")}}
	got, err := credentials.ReadKey(t.Context(), r, key, "access_token", "the token")
	if err != nil || got.Reveal() != "canary" {
		t.Errorf("read %v, %v", got, err)
	}
	if _, err := credentials.ReadKey(t.Context(), r, key, "other", "the token"); err == nil || !strings.Contains(err.Error(), "Key other of Secret ns/app is missing") {
		t.Errorf("said %v", err)
	}
}
