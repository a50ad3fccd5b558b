// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package watchdog

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestMissed(t *testing.T) {
	at := func(seconds int) *metav1.Time {
		return &metav1.Time{Time: noon.Add(time.Duration(seconds) * time.Second)}
	}
	wake := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
	tests := map[string]struct {
		refreshAt          *metav1.Time
		suspended, deleted bool
		wake               time.Time
		known              bool
		missed, overdue    bool
	}{
		"has time":                                {refreshAt: at(600), wake: wake(600), known: true},
		"is due":                                  {refreshAt: at(0), wake: wake(0), known: true},
		"is due for a minute":                     {refreshAt: at(-60), wake: wake(-60), known: true},
		"its timer did not fire":                  {refreshAt: at(-61), wake: wake(-61), known: true, missed: true, overdue: true},
		"tries again later":                       {refreshAt: at(-600), wake: wake(30), known: true, overdue: true},
		"tried again a moment ago":                {refreshAt: at(-600), wake: wake(-5), known: true, overdue: true},
		"was to try again":                        {refreshAt: at(-600), wake: wake(-90), known: true, missed: true, overdue: true},
		"waits for a watch":                       {refreshAt: at(-600), known: true, overdue: true},
		"was to try again for a first token":      {wake: wake(-90), known: true, missed: true},
		"nobody looked since the start":           {refreshAt: at(-61), missed: true, overdue: true},
		"nobody looked, and it has time":          {refreshAt: at(-59)},
		"nobody looked, and there is no token":    {},
		"nobody looked, and it is suspended":      {refreshAt: at(-600), suspended: true},
		"suspended, and the expiry was not noted": {refreshAt: at(-600), suspended: true, wake: wake(-90), known: true, missed: true},
		"is being deleted":                        {refreshAt: at(-600), deleted: true, wake: wake(-600), known: true, overdue: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := &v1alpha1.ConfluenceTokenBinding{}
			b.Status.RefreshAt = tc.refreshAt
			b.Spec.Suspend = new(tc.suspended)
			if tc.deleted {
				b.DeletionTimestamp = at(0)
			}
			if got := missed(b, tc.wake, tc.known, noon); got != tc.missed {
				t.Errorf("missed: %v", got)
			}
			if got := Overdue(b, noon); got != tc.overdue {
				t.Errorf("overdue: %v", got)
			}
		})
	}
}
