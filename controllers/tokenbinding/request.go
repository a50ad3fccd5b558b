// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"unicode/utf8"

	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// maxRequest is what status keeps of a request's value, in bytes.
const maxRequest = 64

// request is the value of a request for a new token that was not honoured yet; empty when there is none.
func (s *scope) request() string {
	if asked := s.asked(); asked != s.binding.Status.LastRefreshRequest {
		return asked
	}
	return ""
}

// requested tells whether somebody asks for a new token, or one that was asked for is under way or could not be had yet.
func (s *scope) requested() bool {
	return s.request() != "" || s.owed != "" || s.attempt.holdsRequested(s.now)
}

// recollectRequest makes status say what the Secret remembers of the last request that led to a token: the write of a status
// can fail, and a status can be lost.
func (s *scope) recollectRequest() {
	honoured, st := shown(s.secret.Held.Request), &s.binding.Status
	if honoured != "" && (st.LastRefreshRequest == "" || honoured == s.asked()) {
		st.LastRefreshRequest = honoured
	}
}

// asked is the value of the annotation, as status shows it.
func (s *scope) asked() string {
	return shown(s.binding.Annotations[v1alpha1.RefreshRequestedAtAnnotation])
}

// shown is what status can take of a request.
func shown(request string) string {
	if len(request) <= maxRequest {
		return request
	}
	cut := maxRequest
	for !utf8.RuneStart(request[cut]) {
		cut--
	}
	return request[:cut]
}

// requestChanged lets updates pass that ask for a new token. No other annotation matters.
var requestChanged = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		const key = v1alpha1.RefreshRequestedAtAnnotation
		return e.ObjectNew.GetAnnotations()[key] != e.ObjectOld.GetAnnotations()[key]
	},
}
