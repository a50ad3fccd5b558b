// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"encoding/json"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/tokenfile"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestDecide(t *testing.T) {
	healthy := func() facts {
		return facts{
			now: noon.Add(time.Minute), uid: "uid", intact: true, wantExchange: "e", wantLayout: "l",
			held: &held{life: refresh.NewLife(noon, time.Hour), exchangeHash: "e", layoutHash: "l"},
		}
	}
	tests := map[string]struct {
		change func(*facts)
		want   action
	}{
		"nothing happened":            {func(*facts) {}, keep},
		"no token":                    {func(f *facts) { f.held = nil }, exchange},
		"another spec":                {func(f *facts) { f.wantExchange = "other" }, exchange},
		"somebody changed it":         {func(f *facts) { f.intact = false }, exchange},
		"asked for":                   {func(f *facts) { f.requested = true }, exchange},
		"the session was renewed":     {func(f *facts) { f.renewed = true }, exchange},
		"due":                         {func(f *facts) { f.now = refresh.RefreshAt(f.held.life, "uid", 0) }, exchange},
		"a second before":             {func(f *facts) { f.now = refresh.RefreshAt(f.held.life, "uid", 0).Add(-time.Second) }, keep},
		"expired long ago":            {func(f *facts) { f.now = noon.Add(24 * time.Hour) }, exchange},
		"from a clock that was ahead": {func(f *facts) { f.now = noon.Add(-clockTolerance - time.Second) }, exchange},
		"from another clock":          {func(f *facts) { f.now = noon.Add(-clockTolerance) }, keep},
		"another layout":              {func(f *facts) { f.wantLayout = "other" }, relayout},
		"another layout and spec":     {func(f *facts) { f.wantLayout, f.wantExchange = "other", "other" }, exchange},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := healthy()
			tc.change(&f)
			got, why := decide(f)
			if got != tc.want || (got == keep) != (why == "") {
				t.Errorf("decided %d because %q, want %d", got, why, tc.want)
			}
		})
	}
}

// The hash of the exchange covers what a token depends on, the hash of the layout the rest.
func TestHashes(t *testing.T) {
	base := func() *scope {
		b := &v1alpha1.ConfluenceTokenBinding{}
		b.Spec.Subject.User = "alice"
		b.Spec.Application.ClientSecretRef = &v1alpha1.LocalSecretReference{Name: "app"}
		b.Spec.Secret = v1alpha1.OutputSecret{Name: "s", Labels: map[string]v1alpha1.LabelValue{"a": "1", "b": "2"}}
		s := newScope(b, noon)
		s.issuer, s.resource, s.scopes = "https://zone", "https://api", []string{"a", "b"}
		return s
	}
	tests := map[string]struct {
		change           func(*scope)
		exchange, layout bool // changes
	}{
		"nothing":     {func(*scope) {}, false, false},
		"zone":        {func(s *scope) { s.issuer = "https://other" }, true, false},
		"resource":    {func(s *scope) { s.resource = "https://other" }, true, false},
		"scopes":      {func(s *scope) { s.scopes = []string{"a"} }, true, false},
		"user":        {func(s *scope) { s.binding.Spec.Subject.User = "bob"; s.wantSpec = s.specHash() }, true, false},
		"application": {func(s *scope) { s.binding.Spec.Application.ClientSecretRef.Name = "other"; s.wantSpec = s.specHash() }, true, false},
		"site":        {func(s *scope) { s.binding.Spec.Site = &v1alpha1.Site{URL: "https://x"}; s.wantSpec = s.specHash() }, true, false},
		"metadata":    {func(s *scope) { s.binding.Labels = map[string]string{"x": "y"}; s.binding.Generation = 9 }, false, false},
		"formats":     {func(s *scope) { s.binding.Spec.Secret.Formats = []v1alpha1.Format{"Env"} }, false, true},
		"label":       {func(s *scope) { s.binding.Spec.Secret.Labels["a"] = "3" }, false, true},
		"annotation":  {func(s *scope) { s.binding.Spec.Secret.Annotations = map[string]v1alpha1.AnnotationValue{"a": "1"} }, false, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before, after := base(), base()
			tc.change(after)
			if changed := before.exchangeHash() != after.exchangeHash(); changed != tc.exchange {
				t.Errorf("the hash of the exchange changed: %v", changed)
			}
			if changed := before.layoutHash() != after.layoutHash(); changed != tc.layout {
				t.Errorf("the hash of the layout changed: %v", changed)
			}
		})
	}
}

func TestIntact(t *testing.T) {
	fields := func(keys, annotations []string) *metav1.FieldsV1 {
		data, notes := map[string]any{".": struct{}{}}, map[string]any{}
		for _, k := range keys {
			data["f:"+k] = struct{}{}
		}
		for _, a := range annotations {
			notes["f:"+a] = struct{}{}
		}
		raw, err := json.Marshal(map[string]any{"f:data": data, "f:metadata": map[string]any{"f:annotations": notes}})
		if err != nil {
			t.Fatal(err)
		}
		return &metav1.FieldsV1{Raw: raw} //nolint:staticcheck // a fixture
	}
	keys := tokenfile.Keys(nil)
	ours := metav1.ManagedFieldsEntry{Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply, FieldsV1: fields(keys, bookkeeping)}
	tests := map[string]struct {
		change  func(*metav1.ManagedFieldsEntry)
		formats []tokenfile.Format
		want    bool
	}{
		"ours":                {func(*metav1.ManagedFieldsEntry) {}, nil, true},
		"a key was taken":     {func(e *metav1.ManagedFieldsEntry) { e.FieldsV1 = fields(keys[1:], bookkeeping) }, nil, false},
		"a note was taken":    {func(e *metav1.ManagedFieldsEntry) { e.FieldsV1 = fields(keys, bookkeeping[1:]) }, nil, false},
		"a format is missing": {func(*metav1.ManagedFieldsEntry) {}, []tokenfile.Format{tokenfile.Env}, false},
		"another manager":     {func(e *metav1.ManagedFieldsEntry) { e.Manager = "kubectl" }, nil, false},
		"another operation":   {func(e *metav1.ManagedFieldsEntry) { e.Operation = metav1.ManagedFieldsOperationUpdate }, nil, false},
		"a subresource":       {func(e *metav1.ManagedFieldsEntry) { e.Subresource = "status" }, nil, false},
		"no fields":           {func(e *metav1.ManagedFieldsEntry) { e.FieldsV1 = nil }, nil, false},
		"fields that are not": {func(e *metav1.ManagedFieldsEntry) { e.FieldsV1 = &metav1.FieldsV1{Raw: []byte("{")} }, nil, false}, //nolint:staticcheck // a fixture
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			entry := ours
			tc.change(&entry)
			m := &metav1.PartialObjectMetadata{}
			m.ManagedFields = []metav1.ManagedFieldsEntry{entry}
			if got := intact(m, tc.formats); got != tc.want {
				t.Errorf("intact: %v", got)
			}
		})
	}
	if intact(&metav1.PartialObjectMetadata{}, nil) {
		t.Error("a Secret without managed fields is intact")
	}
}

// What a token depends on does not include who is restarted for it.
func TestRestartIsNoReasonToExchange(t *testing.T) {
	plain := newScope(&v1alpha1.ConfluenceTokenBinding{}, noon)
	b := &v1alpha1.ConfluenceTokenBinding{}
	b.Spec.Restart = &v1alpha1.Restart{Targets: []v1alpha1.RestartTarget{{Kind: "Deployment", Name: "a"}}}
	if s := newScope(b, noon); s.wantSpec != plain.wantSpec || s.wantLayout != plain.wantLayout || s.exchangeHash() != plain.exchangeHash() {
		t.Error("spec.restart changes what is exchanged for")
	}
}
