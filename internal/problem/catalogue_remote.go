// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package problem

import (
	"errors"
	"net/http"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
)

// Of gives the Problem that an error is, whichever side it is of: one of the catalogue, of the Keycard client or, all others,
// of the cluster. It is nil for no error.
func Of(err error) *Problem {
	if err == nil {
		return nil
	}
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if p, ok := FromKeycard(err); ok {
		return p
	}
	return FromCluster(err)
}

// FromKeycard turns an error of the Keycard client into a Problem. ok is false when err is not one.
func FromKeycard(err error) (*Problem, bool) {
	e, ok := keycard.AsError(err)
	if !ok {
		return nil, false
	}
	who := "The zone"
	if e.Management {
		who = "The management API"
	}
	p := refused(e)
	switch e.Class {
	case keycard.Transient:
		p = passing(v1alpha1.ReasonZoneUnreachable, who+" does not answer, or fails", retries("the zone's URLs, the network and Keycard's status"))
	case keycard.Throttled:
		p = throttled(e.RetryAfter, who+" asks for a pause", "The operator retries after the pause. If this lasts, ask the zone's administrator")
	}
	return p.quoting(e), true
}

// refused is for what a person has to mend.
func refused(e *keycard.Error) *Problem {
	switch {
	case e.Class == keycard.NeedsConsent:
		return needsPerson(v1alpha1.ReasonConsentRequired, "The person has not consented to the resource", "Have them consent to it once")
	case e.Class == keycard.Denied && e.Management:
		return needsPerson(v1alpha1.ReasonAccessDenied, "The service account lacks a permission", "Ask the zone's administrator to let it manage the zone")
	case e.Class == keycard.Denied:
		return needsPerson(v1alpha1.ReasonAccessDenied, "The zone does not permit it",
			"Ask its administrator: the application needs the resource as a dependency, and a policy has to permit the user")
	case errors.Is(e, keycard.ErrEndpointNotAllowed):
		return needsPerson(v1alpha1.ReasonEndpointNotAllowed, "A URL of the zone is not allowed",
			"Use https, or start the operator with --allow-insecure-loopback for a zone on this machine")
	case errors.Is(e, keycard.ErrTokenUnusable):
		return needsPerson(v1alpha1.ReasonTokenUnusable, "The zone issued a token that no client can use", "Ask the zone's administrator to correct the zone or its provider")
	case e.Management && (e.Code == "invalid_client" || e.Status == http.StatusUnauthorized):
		return needsPerson(v1alpha1.ReasonClientRejected, "The zone refuses the service account",
			"Check its client id and client secret in the Secret, and that it still exists in the zone")
	case e.Code == "invalid_client" || e.Status == http.StatusUnauthorized:
		return needsPerson(v1alpha1.ReasonClientRejected, "The zone refuses the client id or client secret",
			"Check the Secret, and that the credential still exists in the zone")
	}
	return needsPerson(v1alpha1.ReasonRequestRejected, "The zone refuses the request as it is", rejectedRemedy(e))
}

func rejectedRemedy(e *keycard.Error) string {
	switch {
	case e.Status == 0 && e.Err == nil: // it was never sent
		return "Correct what the details name"
	case e.Code == "":
		return "Check the URLs of spec.zone of the KeycardResource, and its caBundle"
	case e.Management:
		return "Check spec.zone, and what the details name"
	}
	return "Check the zone, the user and the resource that the spec names"
}

// FromAtlassian turns an error of Atlassian's API into a Problem. The token was fresh from the zone, so a refusal is about
// the grant behind it. ok is false when err is no answer of an API.
func FromAtlassian(err error) (*Problem, bool) {
	e, ok := keycard.AsError(err)
	if !ok {
		return nil, false
	}
	p := passing(v1alpha1.ReasonAtlassianUnreachable, "Atlassian does not answer as expected", retries("--atlassian-url, and proxies on the way to Atlassian"))
	switch {
	case e.Class == keycard.Transient:
		p = passing(v1alpha1.ReasonAtlassianUnreachable, "Atlassian does not answer, or fails", retries("the network and Atlassian's status"))
	case e.Class == keycard.Throttled:
		p = throttled(e.RetryAfter, "Atlassian asks for a pause",
			"The operator retries after the pause. If this lasts, look for other programs that use the OAuth app")
	case e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden:
		p = needsPerson(v1alpha1.ReasonTokenUnusable, "Atlassian refuses the token that the zone issued", "Have the person revoke the grant and consent again")
	}
	return p.quoting(e), true
}
