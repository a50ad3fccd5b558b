// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/outcome"
)

// subjectRefused says that the access token of spec.subject.accessTokenSecretRef is no good, which only a fresh one mends. The
// zone has other codes for what else of the request can be wrong; other errors stay as they are.
func (s *scope) subjectRefused(err error) error {
	ref := s.binding.Spec.Subject.AccessTokenSecretRef
	remote, ok := keycard.AsError(err)
	if ref == nil || !ok || remote.Code != "invalid_grant" && remote.Code != "invalid_request" {
		return err
	}
	return outcome.NeedsPerson(v1alpha1.ReasonSubjectTokenRejected,
		"%v; put a fresh access token into key %s of Secret %s: one of this zone, issued for the application of the binding", remote, ref.Key, s.local(ref.Name))
}
