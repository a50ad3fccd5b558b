// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package problem is the one place where what went wrong is turned into what happens next: which
// reason and message a condition shows, who has to move, and when to try again.
package problem

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
)

// Kind says who moves next.
type Kind int

// The kinds.
const (
	// KindWaiting is for something in the cluster that a watch will report. It is not retried.
	KindWaiting Kind = iota + 1
	// KindBlocked is for something that a person has to mend in the cluster. A watch reports it, so it is not
	// retried either.
	KindBlocked
	// KindPerson is for something that a person has to mend outside of the cluster. It is retried slowly,
	// because no watch sees the outside.
	KindPerson
	// KindTransient passes by itself. It is retried with backoff.
	KindTransient
	// KindThrottled passes after the pause that the server asked for.
	KindThrottled
)

// Problem is why a step could not go on. Its texts are stable: the same problem reads the same each
// time, so that status is not written again.
type Problem struct { //nolint:errname // it is a finding about an object that steps also return as an error
	Kind Kind
	// Reason is one of the Reason constants of the API.
	Reason string
	// Message says what is wrong and what to do about it.
	Message string
	// RetryAfter is the pause a throttling server asked for.
	RetryAfter time.Duration
}

// Error makes a Problem an error, so that steps return it as one.
func (p *Problem) Error() string { return p.Reason + ": " + p.Message }

// Stalls tells whether nothing moves until a person does something.
func (p *Problem) Stalls() bool { return p.Kind == KindBlocked || p.Kind == KindPerson }

// Passes tells whether it passes by itself.
func (p *Problem) Passes() bool { return p.Kind == KindTransient || p.Kind == KindThrottled }

// Waiting makes a Problem that a watch will report the end of.
func Waiting(reason, format string, args ...any) *Problem {
	return &Problem{Kind: KindWaiting, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Blocked makes a Problem that a person has to mend in the cluster.
func Blocked(reason, format string, args ...any) *Problem {
	return &Problem{Kind: KindBlocked, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// NeedsPerson is a Problem that a person has to mend outside of the cluster.
func NeedsPerson(reason, format string, args ...any) *Problem {
	return &Problem{Kind: KindPerson, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Passing is a Problem that passes by itself.
func Passing(reason, format string, args ...any) *Problem {
	return &Problem{Kind: KindTransient, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Throttled makes a Problem that passes after the pause that was asked for.
func Throttled(after time.Duration, reason, format string, args ...any) *Problem {
	return &Problem{Kind: KindThrottled, Reason: reason, RetryAfter: after, Message: fmt.Sprintf(format, args...)}
}

// remedies is what to do about a refusal, by its reason.
var remedies = map[string]string{
	v1alpha1.ReasonClientRejected:     "check the client id and client secret, and that the credential still exists in the zone",
	v1alpha1.ReasonConsentRequired:    "the person has to consent to the resource once",
	v1alpha1.ReasonAccessDenied:       "ask the zone's administrator to permit it: the application needs the resource as a dependency, and an access policy that allows the user",
	v1alpha1.ReasonRequestRejected:    "check the zone, the user and the resource that the spec names",
	v1alpha1.ReasonZoneUnreachable:    "it is retried; check the zone's URLs and the network if it lasts",
	v1alpha1.ReasonThrottled:          "it is retried after the pause the server asked for",
	v1alpha1.ReasonTokenUnusable:      "this is a fault of the zone or of its provider; ask the zone's administrator",
	v1alpha1.ReasonEndpointNotAllowed: "use an https URL, or start the operator with --allow-insecure-loopback for a zone on this machine",
}

// FromKeycard turns an error of the Keycard client into a Problem. ok is false when err is not one.
func FromKeycard(err error) (*Problem, bool) {
	var remote *keycard.Error
	if !errors.As(err, &remote) {
		return nil, false
	}
	reason := reasonOf(remote)
	p := &Problem{Kind: kindOf(remote.Class), Reason: reason, RetryAfter: remote.RetryAfter}
	p.Message = fmt.Sprintf("%s; %s", remote.Error(), remedyOf(remote, reason))
	return p, true
}

// remedyOf is what to do about a refusal. The management API refuses what a service account may not do, and the token
// endpoint what the zone's policies forbid: its refusals have a code of OAuth.
func remedyOf(e *keycard.Error, reason string) string {
	if reason == v1alpha1.ReasonAccessDenied && e.Status == http.StatusForbidden && e.Code != "access_denied" && e.Code != "unauthorized_client" {
		return "the service account lacks the permission; ask the zone's administrator to let it manage the zone"
	}
	return remedies[reason]
}

// Remote gives the Problem that an error of the Keycard client is, as an error; any other error stays as it is.
func Remote(err error) error {
	if p, ok := FromKeycard(err); ok {
		return p
	}
	return err
}

// FromCluster turns an error of the Kubernetes API into a Problem. It shows what was being done and the kind
// of failure; the rest of the text varies from attempt to attempt.
func FromCluster(err error) *Problem {
	op, _, _ := strings.Cut(err.Error(), ": ")
	reason := string(apierrors.ReasonForError(err))
	if reason == "" {
		reason = "the Kubernetes API does not answer, or the operator does not watch that namespace"
	}
	p := Passing(v1alpha1.ReasonClusterError, "%s: %s; it is retried", op, reason)
	if seconds, asked := apierrors.SuggestsClientDelay(err); asked && seconds > 0 {
		p.Kind, p.RetryAfter = KindThrottled, time.Duration(seconds)*time.Second
	}
	return p
}

func kindOf(c keycard.Class) Kind {
	switch c {
	case keycard.Transient:
		return KindTransient
	case keycard.Throttled:
		return KindThrottled
	default:
		return KindPerson
	}
}

func reasonOf(e *keycard.Error) string {
	switch e.Class {
	case keycard.Transient:
		return v1alpha1.ReasonZoneUnreachable
	case keycard.Throttled:
		return v1alpha1.ReasonThrottled
	case keycard.NeedsConsent:
		return v1alpha1.ReasonConsentRequired
	case keycard.Denied:
		return v1alpha1.ReasonAccessDenied
	}
	switch {
	case errors.Is(e, keycard.ErrEndpointNotAllowed):
		return v1alpha1.ReasonEndpointNotAllowed
	case errors.Is(e, keycard.ErrTokenUnusable):
		return v1alpha1.ReasonTokenUnusable
	case e.Code == "invalid_client" || e.Status == http.StatusUnauthorized:
		return v1alpha1.ReasonClientRejected
	}
	return v1alpha1.ReasonRequestRejected
}
