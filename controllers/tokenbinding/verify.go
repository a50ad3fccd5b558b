// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/atlassian"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/status"
)

// verdict is what came of trying a token at Confluence: one of the reasons of condition Verified, or empty when it was not
// tried. It is remembered with the token in the Secret, so that a restart neither forgets it nor tries again.
type verdict string

// verdicts says what each means. Its texts hold nothing of the answer: they are the same each time.
var verdicts = map[verdict]struct {
	status  metav1.ConditionStatus
	message string
}{
	v1alpha1.ReasonVerified: {metav1.ConditionTrue, "Confluence accepted the token"},
	v1alpha1.ReasonTokenRefused: {
		metav1.ConditionFalse,
		"Confluence refuses the token (HTTP 401): the grant behind it has ended, or was revoked at Atlassian; the person has to consent again",
	},
	v1alpha1.ReasonScopeMismatch: {
		metav1.ConditionFalse,
		"Confluence refuses the token for its scopes (HTTP 401): the OAuth app lacks a scope of spec.scopes in Atlassian's developer console; add it there, then the person has to consent again",
	},
	v1alpha1.ReasonAccessForbidden: {
		metav1.ConditionFalse,
		"Confluence forbids the access (HTTP 403): the person has no access to Confluence at this site, or the site's app access policy blocks the app; ask the site's administrator",
	},
	v1alpha1.ReasonSiteNotFound: {
		metav1.ConditionFalse,
		"the token is not good for this site any more (HTTP 404): the site is gone, or the grant does not cover it; correct spec.site.url, or consent again and pick that site",
	},
	v1alpha1.ReasonProbeInconclusive: {
		metav1.ConditionUnknown,
		"Confluence did not answer as expected when the token was tried; the next token is tried again",
	},
	v1alpha1.ReasonProbeUnavailable: {
		metav1.ConditionUnknown,
		"no read of Confluence is known that the token's scopes open, so it was not tried; a scope such as read:page:confluence makes it possible",
	},
}

// refuses tells whether Confluence does not take the token.
func (v verdict) refuses() bool { return verdicts[v].status == metav1.ConditionFalse }

// A probe holds a worker that all bindings share, while the token waits to be written. So it is given up soon, and while
// Confluence does not answer at all, tokens are tried once in a while only.
const (
	probeTimeout = 5 * time.Second
	probePause   = time.Minute
)

// probe tries a token before it is written, where the spec wants that. Whatever comes of it the token is written: a probe can
// be wrong, and a token that is withheld is an outage for sure.
func (r *Reconciler) probe(ctx context.Context, s *scope, token keycard.Token, site atlassian.Site) verdict {
	if s.binding.Spec.Verify != v1alpha1.VerifyProbe {
		return ""
	}
	scopes := token.Scopes
	if len(scopes) == 0 {
		scopes = s.scopes
	}
	if r.Clock.Now().Before(time.Unix(0, r.probeAgain.Load())) {
		return v1alpha1.ReasonProbeInconclusive
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err := r.Atlassian.Probe(ctx, site.CloudID, scopes, token.AccessToken)
	v := verdictOf(err)
	if v == v1alpha1.ReasonSiteNotFound && !r.gone(ctx, token, site) {
		// The site may be there, and it was the call that Confluence does not know any more.
		v = v1alpha1.ReasonProbeInconclusive
	}
	if remote, ok := keycard.AsError(err); ok && remote.Status == 0 {
		r.probeAgain.Store(r.Clock.Now().Add(probePause).UnixNano())
	}
	if err != nil {
		log.FromContext(ctx).Info("tried the token at Confluence", "verdict", v, "cause", err.Error())
	}
	return v
}

func verdictOf(err error) verdict {
	if err == nil {
		return v1alpha1.ReasonVerified
	}
	if errors.Is(err, atlassian.ErrNoProbe) {
		return v1alpha1.ReasonProbeUnavailable
	}
	remote, ok := keycard.AsError(err)
	switch {
	case !ok:
	case remote.Status == http.StatusUnauthorized && strings.Contains(remote.Description, "scope"):
		return v1alpha1.ReasonScopeMismatch
	case remote.Status == http.StatusUnauthorized:
		return v1alpha1.ReasonTokenRefused
	case remote.Status == http.StatusForbidden:
		return v1alpha1.ReasonAccessForbidden
	case remote.Status == http.StatusNotFound:
		return v1alpha1.ReasonSiteNotFound
	}
	return v1alpha1.ReasonProbeInconclusive
}

// gone tells whether a token is known to be good for a site no more.
func (r *Reconciler) gone(ctx context.Context, token keycard.Token, site atlassian.Site) bool {
	sites, err := r.Atlassian.Sites(ctx, token.AccessToken)
	return err == nil && !slices.ContainsFunc(sites, func(x atlassian.Site) bool { return x.CloudID == site.CloudID })
}

// refused tells whether the spec wants tokens tried and Confluence did not take the one in the Secret.
func (s *scope) refused() bool {
	return s.binding.Spec.Verify == v1alpha1.VerifyProbe && s.usable() && verdict(s.secret.Held.Verdict).refuses()
}

// tryAgainAt is when a token that Confluence did not take is replaced: a person has to act, so it is as with other refusals.
func tryAgainAt(l refresh.Life, uid string) time.Time {
	return l.IssuedAt.Add(refresh.SlowRetryAfter(1, uid)).Truncate(time.Second)
}

// reportVerified says what came of trying the token. The condition is there only where the spec asks for it.
func (s *scope) reportVerified(c status.Conditions) {
	switch {
	case s.binding.Spec.Verify != v1alpha1.VerifyProbe:
		c.Remove(v1alpha1.ConditionVerified)
	case s.usable() && verdicts[verdict(s.secret.Held.Verdict)].message != "":
		c.Set(v1alpha1.ConditionVerified, verdicts[verdict(s.secret.Held.Verdict)].status, s.secret.Held.Verdict, verdicts[verdict(s.secret.Held.Verdict)].message)
	default:
		c.Set(v1alpha1.ConditionVerified, metav1.ConditionUnknown, v1alpha1.ReasonPending, "the next token is tried")
	}
}
