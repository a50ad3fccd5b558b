// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package consent

import (
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

func TestURLsOfOptions(t *testing.T) {
	loopback := []string{"http://127.0.0.1/-/callback", "http://127.0.0.1:8765/-/callback"}
	for name, tt := range map[string]struct {
		options Options
		want    []string
		wrong   bool
	}{
		"nothing":        {Options{}, nil, false},
		"no page":        {Options{Application: true}, loopback, false},
		"page":           {Options{Application: true, Address: ":1", URL: "https://x.example/k/"}, append(loopback, "https://x.example/k/-/callback"), false},
		"no application": {Options{Address: ":1", URL: "https://x.example"}, nil, true},
		"no address":     {Options{Application: true, URL: "https://x.example"}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			page, got, err := tt.options.URLs()
			g.Expect(page != nil).To(Equal(err == nil && tt.options.URL != ""))
			g.Expect(err != nil).To(Equal(tt.wrong))
			g.Expect(got).To(Equal(tt.want))
		})
	}
}

func TestTold(t *testing.T) {
	binding := func(link, message string) *v1alpha1.ConfluenceTokenBinding {
		b := &v1alpha1.ConfluenceTokenBinding{}
		b.Status.ConsentURL = link
		b.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Message: message}}
		return b
	}
	for name, tt := range map[string]struct {
		before, now any
		want        bool
	}{
		"the link is taken away":          {binding("l", "m"), binding("", "m"), true},
		"with the reason for it":          {binding("l", "m"), binding("", "n"), false},
		"the link appears":                {binding("", "m"), binding("l", "m"), false},
		"nothing changes":                 {binding("l", "m"), binding("l", "m"), false},
		"there was none":                  {binding("", "m"), binding("", "m"), false},
		"something else than a binding":   {binding("l", "m"), &v1alpha1.KeycardResource{}, false},
		"it was something else than that": {"x", binding("", "m"), false},
	} {
		t.Run(name, func(t *testing.T) {
			_, got := told(tt.before, tt.now)
			NewWithT(t).Expect(got).To(Equal(tt.want))
		})
	}
}
