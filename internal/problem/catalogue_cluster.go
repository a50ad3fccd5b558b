// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package problem

import (
	"errors"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// clusterError is a failed request to the Kubernetes API, and what it was for.
type clusterError struct {
	op  string
	err error
}

func (e *clusterError) Error() string { return e.op + ": " + e.err.Error() }

func (e *clusterError) Unwrap() error { return e.err }

// Cluster says of an error of the Kubernetes API what was being done: a gerund and its object, such as "reading Secret a/b".
// FromCluster shows it. It is nil for no error.
func Cluster(op string, err error) error {
	if err == nil {
		return nil
	}
	return &clusterError{op: op, err: err}
}

// FromCluster turns an error of the Kubernetes API into a Problem. It shows what was being done and the kind of failure; the
// rest of the text varies from attempt to attempt.
func FromCluster(err error) *Problem {
	return clusterFailed(v1alpha1.ReasonClusterError, operation(err), err)
}

func clusterFailed(reason, op string, err error) *Problem {
	why, remedy := string(apierrors.ReasonForError(err)), retries("the Kubernetes API")
	switch {
	case why == "":
		why, remedy = "the Kubernetes API does not answer", retries("it and --watch-namespaces")
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		remedy = retries("the operator's permissions (config/rbac)")
	}
	p := passing(reason, say("%s%s failed: %s", strings.ToUpper(op[:1]), op[1:], why), remedy)
	if seconds, asked := apierrors.SuggestsClientDelay(err); asked && seconds > 0 {
		p.Kind, p.RetryAfter = KindThrottled, time.Duration(seconds)*time.Second
	}
	return p
}

func operation(err error) string {
	if e, ok := errors.AsType[*clusterError](err); ok {
		return e.op
	}
	if details := statusOf(err).Details; details != nil && details.Kind != "" {
		return strings.TrimSpace("a request for " + details.Kind + " " + details.Name)
	}
	return "a request to the cluster"
}

func statusOf(err error) metav1.Status {
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return status.Status()
	}
	return metav1.Status{}
}

// refusers find in the text of a refusal who it was: the API server says it nowhere else. Only names are taken from it: a policy
// or a webhook may quote what it refuses.
var refusers = []struct {
	name       *regexp.Regexp
	is, remedy string
}{
	{regexp.MustCompile(`exceeded quota: ([a-z0-9.-]{1,253}),`), ": ResourceQuota %s is used up", "Raise it, or remove what is not needed"},
	{regexp.MustCompile(`ValidatingAdmissionPolicy '([a-z0-9.-]{1,253})'`), ": ValidatingAdmissionPolicy %s denies it", "Let it admit what the operator writes"},
	{regexp.MustCompile(`admission webhook "([a-z0-9.-]{1,253})" denied`), ": the admission webhook %s denies it", "Let it admit what the operator writes"},
}

// refuser says who in the cluster refused a request, for the end of a cause, and what to do about it. It is empty when the
// cluster does not say. It is shown only: what happens next is decided by the status of the error.
func refuser(err error) (is, remedy string) {
	text := statusOf(err).Message
	for _, r := range refusers {
		if m := r.name.FindStringSubmatch(text); m != nil {
			return say(r.is, m[1]), r.remedy
		}
	}
	return "", ""
}

// SecretNotFound is for a Secret that the spec names. what says what it is to hold: "the OAuth app's credential".
func SecretNotFound(secret types.NamespacedName, what string, keys ...string) *Problem {
	return waiting(v1alpha1.ReasonSecretNotFound, say("Secret %s with %s does not exist", secret, what),
		say("Create it with %s", counted("key", keys)))
}

func counted(noun string, names []string) string {
	if len(names) > 1 {
		noun += "s"
	}
	return "the " + noun + " " + strings.Join(names, " and ")
}

// Flaw is what can be wrong with a value that a user puts into a Secret.
type Flaw int

// The flaws.
const (
	Missing Flaw = iota
	Empty
	TooLong
	NotText
	Padded
	ControlCharacter
)

var flaws = map[Flaw]struct{ is, remedy string }{
	Missing:          {"is missing", "Add it"},
	Empty:            {"is empty", "Set it"},
	TooLong:          {"is longer than 64 KiB, so it holds something else", "Set it anew"},
	NotText:          {"is not text", "Set it anew, base64-encoded once only"},
	Padded:           {"begins or ends with a space or a newline", "Set it without: printf %s adds no newline, echo does"},
	ControlCharacter: {"has a control character in it, such as a newline", "Set it anew"},
}

// SecretInvalid is for a key of a Secret that the spec names.
func SecretInvalid(secret types.NamespacedName, key string, flaw Flaw) *Problem {
	return blocked(v1alpha1.ReasonSecretInvalid, say("Key %s of Secret %s %s", key, secret, flaws[flaw].is), flaws[flaw].remedy)
}

// Place is a key of a ConfigMap or a Secret.
type Place struct {
	types.NamespacedName
	Kind, Key string
}

// Object names the ConfigMap or Secret.
func (p Place) Object() string { return p.Kind + " " + p.NamespacedName.String() }

func (p Place) String() string { return "Key " + p.Key + " of " + p.Object() }

// CABundleNotFound is for the ConfigMap or Secret of spec.zone.caBundle.
func CABundleNotFound(at Place) *Problem {
	return waiting(v1alpha1.ReasonCABundleInvalid, at.Object()+" with the zone's certificate authority does not exist", "Create it with the key "+at.Key)
}

// CABundleKeyMissing is for a ConfigMap or Secret without the key that spec.zone.caBundle names.
func CABundleKeyMissing(at Place) *Problem {
	return blocked(v1alpha1.ReasonCABundleInvalid, at.String()+" is missing", "Add it with the certificate of the zone's authority")
}

// CABundleInvalid is for a CA bundle that holds no certificate.
func CABundleInvalid(at Place) *Problem {
	return blocked(v1alpha1.ReasonCABundleInvalid, at.String()+" holds no certificate in PEM (-----BEGIN CERTIFICATE-----)",
		"Put the certificate of the zone's authority there")
}

// SecretTaken is for an output Secret that is not the binding's. controller is what it belongs to, such as "Deployment a"; "" when
// it belongs to nothing. A binding's Secret can't be changed, so it has to be another binding.
func SecretTaken(secret, controller string) *Problem {
	if controller != "" {
		return blocked(v1alpha1.ReasonSecretConflict, say("Secret %s belongs to %s", secret, controller), anotherName)
	}
	return blocked(v1alpha1.ReasonSecretConflict, say("Secret %s exists and was not made by this binding", secret), removeOrAnotherName)
}

const (
	anotherName         = "Create the binding anew with another spec.secret.name"
	removeOrAnotherName = "Remove the Secret if no one uses it, or create the binding anew with another spec.secret.name"
)

// SecretOfOlderBinding is for an output Secret that an older binding names too.
func SecretOfOlderBinding(secret, binding string) *Problem {
	return blocked(v1alpha1.ReasonSecretConflict, say("The older ConfluenceTokenBinding %s has Secret %s too", binding, secret), anotherName)
}

// SecretJustMade is for an output Secret that another program made while the binding's first token was on its way.
func SecretJustMade(secret string) *Problem {
	return passing(v1alpha1.ReasonSecretConflict, say("Another program made Secret %s a moment ago", secret), removeOrAnotherName)
}

// SecretChanging is for an output Secret that changed since it was read.
func SecretChanging(secret string) *Problem {
	return passing(v1alpha1.ReasonSecretConflict, say("Secret %s is being changed by another program", secret),
		"The operator retries. If this lasts, stop the other program")
}

// SecretKeepsChanging is for labels, annotations or an owner of an output Secret that had to be put right too often.
func SecretKeepsChanging(secret string, after time.Duration) *Problem {
	return throttled(after, say("The labels, annotations or owner of Secret %s keep changing", secret),
		"Stop the other program that changes them, or take what it changes out of spec.secret")
}

// SecretUnreadable is for an output Secret whose token can't be laid out anew. err is tokenfile's.
func SecretUnreadable(secret string, err error) *Problem {
	return passing(v1alpha1.ReasonSecretWriteFailed, say("Secret %s holds no token that can be laid out anew", secret),
		"The operator gets a new token. If this lasts, stop the program that changes the Secret").quoting(err)
}

// SecretInEndingNamespace is for an output Secret that can't be made any more. It waits for the end, or retries after a pause.
func SecretInEndingNamespace(secret string, after time.Duration) *Problem {
	p := waiting(v1alpha1.ReasonSecretWriteFailed, say("Secret %s can't be made: the namespace is being deleted", secret), anotherNamespace)
	if after > 0 {
		p.Kind, p.RetryAfter = KindThrottled, after
	}
	return p
}

const anotherNamespace = "Create the binding in another namespace"

// SecretWriteFailed is for a write of the output Secret. It has words of its own: an admission webhook may quote values.
func SecretWriteFailed(secret string, err error) *Problem {
	switch {
	case apierrors.IsConflict(err):
		return SecretChanging(secret)
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsUnauthorized(err), apierrors.IsBadRequest(err):
	default:
		return clusterFailed(v1alpha1.ReasonSecretWriteFailed, "writing Secret "+secret, err)
	}
	is, remedy := refuser(err)
	switch {
	case remedy != "":
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		remedy = "Check the operator's permissions here (config/rbac) and admission webhooks"
	default:
		remedy = "Check the cluster's admission policies and webhooks"
	}
	return passing(v1alpha1.ReasonSecretWriteFailed, say("The cluster refused to write Secret %s (%s)%s", secret, apierrors.ReasonForError(err), is),
		remedy+"; the token is kept")
}

// ServiceAccountTokenFailed is for a TokenRequest that the cluster did not answer with a token. account is namespace/name; err is
// nil for an answer without a token.
func ServiceAccountTokenFailed(account string, err error) *Problem {
	is, remedy := refuser(err)
	switch {
	case err == nil:
		return passing(v1alpha1.ReasonClusterError, say("The cluster answered without a token for ServiceAccount %s", account), retries("the Kubernetes API"))
	case apierrors.IsNotFound(err):
		return waiting(v1alpha1.ReasonServiceAccountNotFound, say("ServiceAccount %s does not exist", account),
			"Create it, or change spec.application.serviceAccountName")
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return waiting(v1alpha1.ReasonTokenRequestRefused, say("ServiceAccount %s gets no token: the namespace is being deleted", account), anotherNamespace)
	case apierrors.IsForbidden(err) && remedy == "":
		remedy = "Permit create on serviceaccounts/token here, as config/rbac does, and check admission webhooks"
	case apierrors.IsForbidden(err):
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		if remedy == "" {
			remedy = "Check the cluster's admission policies and webhooks"
		}
	default:
		return clusterFailed(v1alpha1.ReasonClusterError, "requesting a token for ServiceAccount "+account, err)
	}
	return needsPerson(v1alpha1.ReasonTokenRequestRefused,
		say("The cluster refuses a token for ServiceAccount %s (%s)%s", account, apierrors.ReasonForError(err), is), remedy)
}
