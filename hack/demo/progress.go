// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// progress is what was last shown of each condition.
type progress map[string]string

// show prints the conditions that changed.
func (p progress) show(d *demo, object string, conditions []metav1.Condition) {
	for _, c := range conditions {
		now := fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason)
		if key := object + " " + c.Type; p[key] != now {
			p[key] = now
			d.say("%-40s %s", object, now)
		}
	}
}
