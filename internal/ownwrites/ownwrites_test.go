// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ownwrites_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/keycardai/keycard-operator/internal/ownwrites"
)

func object(uid, version string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: "it", UID: types.UID(uid), ResourceVersion: version,
	}}
}

func TestNewest(t *testing.T) {
	tests := map[string]struct {
		wrote, cached *metav1.PartialObjectMetadata
		want          string // resource version
		remembered    bool   // afterwards
	}{
		"nothing was written":              {nil, object("a", "5"), "5", false},
		"the cache lags behind":            {object("a", "10"), object("a", "9"), "10", true},
		"versions are numbers, not text":   {object("a", "100"), object("a", "99"), "100", true},
		"the cache has caught up":          {object("a", "10"), object("a", "10"), "10", false},
		"the cache is ahead":               {object("a", "10"), object("a", "11"), "11", false},
		"it was deleted and made again":    {object("a", "10"), object("b", "9"), "9", false},
		"a version that can't be compared": {object("a", "10"), object("a", "x"), "x", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var l ownwrites.Latest[*metav1.PartialObjectMetadata]
			if tc.wrote != nil {
				l.Wrote(tc.wrote)
			}
			if got := l.Newest(tc.cached).ResourceVersion; got != tc.want {
				t.Errorf("newest is %s, want %s", got, tc.want)
			}
			if got := l.Remembers(); got != tc.remembered {
				t.Errorf("says that it remembers: %v, want %v", got, tc.remembered)
			}
			// What the cache has caught up with is forgotten: an older read is believed again.
			if got := l.Newest(object("a", "1")).ResourceVersion; (got != "1") != tc.remembered {
				t.Errorf("remembers %v, want %v", got != "1", tc.remembered)
			}
			l.Forget()
			if got := l.Newest(object("a", "1")).ResourceVersion; got != "1" || l.Remembers() {
				t.Error("remembers what it was told to forget")
			}
		})
	}
}
