// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokensecret

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/tokenfile"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func binding() *v1alpha1.ConfluenceTokenBinding {
	b := &v1alpha1.ConfluenceTokenBinding{}
	b.Namespace, b.Name, b.UID = "reports", "reports", "its-uid"
	b.Spec = v1alpha1.ConfluenceTokenBindingSpec{
		ResourceRef: v1alpha1.KeycardResourceReference{Name: "confluence", Namespace: "platform"},
		Application: v1alpha1.Application{ClientSecretRef: &v1alpha1.LocalSecretReference{Name: "app"}},
		Subject:     v1alpha1.Subject{User: "alice@example.com"},
		Scopes:      []v1alpha1.Scope{"read:page:confluence"},
		Site:        &v1alpha1.Site{URL: "https://acme.atlassian.net"},
		Secret: v1alpha1.OutputSecret{
			Name: "s", Formats: []v1alpha1.Format{"Header", "Curl"},
			Labels: map[string]v1alpha1.LabelValue{"a": "1", "b": "2"}, Annotations: map[string]v1alpha1.AnnotationValue{"x": "y"},
		},
	}
	return b
}

func wants(b *v1alpha1.ConfluenceTokenBinding) Wanted {
	return Wants(&b.Spec).Of("https://zone", "https://api", []string{"a", "b"})
}

// What is stored with tokens outlives the operator: another fingerprint of the same spec would cost an exchange for each binding.
func TestFingerprintsStayTheSame(t *testing.T) {
	want := Wanted{"118c14247c66dc14d4979640e0da9427", "c40fd40daf9e409c411974344d62eb25", "dd0af8f78912c902a99aecb4b1e1fde6"}
	if got := wants(binding()); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// The fingerprint of the exchange covers what a token depends on, that of the layout the rest.
func TestFingerprints(t *testing.T) {
	type facts struct {
		*v1alpha1.ConfluenceTokenBinding
		issuer, resource string
		scopes           []string
	}
	base := func() *facts { return &facts{binding(), "https://zone", "https://api", []string{"a", "b"}} }
	tests := map[string]struct {
		change                 func(*facts)
		exchange, spec, layout bool // changes
	}{
		"nothing":     {func(*facts) {}, false, false, false},
		"zone":        {func(f *facts) { f.issuer = "https://other" }, true, false, false},
		"resource":    {func(f *facts) { f.resource = "https://other" }, true, false, false},
		"granted":     {func(f *facts) { f.scopes = []string{"a"} }, true, false, false},
		"user":        {func(f *facts) { f.Spec.Subject.User = "bob" }, true, true, false},
		"application": {func(f *facts) { f.Spec.Application.ClientSecretRef.Name = "other" }, true, true, false},
		"scopes":      {func(f *facts) { f.Spec.Scopes = nil }, true, true, false},
		"site":        {func(f *facts) { f.Spec.Site = &v1alpha1.Site{URL: "https://x"} }, true, true, false},
		"metadata":    {func(f *facts) { f.Labels = map[string]string{"x": "y"}; f.Generation = 9 }, false, false, false},
		"formats":     {func(f *facts) { f.Spec.Secret.Formats = []v1alpha1.Format{"Env"} }, false, false, true},
		"their order": {func(f *facts) { f.Spec.Secret.Formats = []v1alpha1.Format{"Curl", "Header"} }, false, false, false},
		"label":       {func(f *facts) { f.Spec.Secret.Labels["a"] = "3" }, false, false, true},
		"annotation":  {func(f *facts) { f.Spec.Secret.Annotations = nil }, false, false, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := base()
			tc.change(f)
			before, after := wants(binding()), Wants(&f.Spec).Of(f.issuer, f.resource, f.scopes)
			if changed := before.Exchange != after.Exchange; changed != tc.exchange {
				t.Errorf("the fingerprint of the exchange changed: %v", changed)
			}
			if changed := before.Spec != after.Spec; changed != tc.spec {
				t.Errorf("the fingerprint of the spec changed: %v", changed)
			}
			if changed := before.Layout != after.Layout; changed != tc.layout {
				t.Errorf("the fingerprint of the layout changed: %v", changed)
			}
		})
	}
}

// fields are managed fields for these keys.
func fields(data, annotations, labels []string) *metav1.FieldsV1 {
	set := func(keys []string) map[string]any {
		set := map[string]any{".": struct{}{}}
		for _, k := range keys {
			set["f:"+k] = struct{}{}
		}
		return set
	}
	raw, err := json.Marshal(map[string]any{"f:data": set(data), "f:metadata": map[string]any{"f:annotations": set(annotations), "f:labels": set(labels)}})
	if err != nil {
		panic(err)
	}
	return &metav1.FieldsV1{Raw: raw} //nolint:staticcheck // a fixture
}

// held is a token in which every field is set.
func held(b *v1alpha1.ConfluenceTokenBinding) Held {
	return Held{
		Life: refresh.NewLife(noon, time.Hour), Scopes: []string{"a", "b"}, SiteURL: "https://acme.atlassian.net", CloudID: "cloud",
		Note: Note{
			Made: wants(b), SubjectVersion: "uid/1", SubjectHash: "hash", Verdict: v1alpha1.ReasonVerified, Request: "now",
			Lifetime: keycard.Lifetime{Source: keycard.LifetimeFromClaim, Announced: keycard.AnnouncementGiven, ClockSkew: -10 * time.Minute},
		},
	}
}

// written is the metadata of a Secret as the operator writes it for a binding.
func written(b *v1alpha1.ConfluenceTokenBinding, h Held) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.Namespace, m.Name, m.UID, m.CreationTimestamp = b.Namespace, b.Spec.Secret.Name, "secret", metav1.NewTime(noon)
	m.Annotations, m.Labels = h.annotations(), labels(b)
	maps.Copy(m.Annotations, extra(b))
	m.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(b, v1alpha1.GroupVersion.WithKind("ConfluenceTokenBinding"))}
	m.ManagedFields = []metav1.ManagedFieldsEntry{{
		Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply,
		FieldsV1: fields(tokenfile.Keys(formats(b)), slices.Collect(maps.Keys(m.Annotations)), slices.Collect(maps.Keys(m.Labels))),
	}}
	return m
}

// What is written with a token is what a look finds.
func TestHeldIsWhatWasWritten(t *testing.T) {
	b := binding()
	for name, want := range map[string]Held{
		"all": held(b), "the least": {Life: refresh.NewLife(noon, time.Minute), Scopes: []string{}, Note: Note{Made: wants(b)}},
	} {
		s := Inspect(written(b, want), b)
		if s.Held == nil || !reflect.DeepEqual(*s.Held, want) {
			t.Errorf("%s: found\n%+v, want\n%+v", name, s.Held, want)
		}
		if !s.Intact || !s.Dressed || !s.Exists() || !s.Held.MadeFor(wants(b)) {
			t.Errorf("%s: what was just written is not as it should be: %+v", name, s)
		}
	}
}

func TestHeldThatCannotBeRead(t *testing.T) {
	b := binding()
	for name, change := range map[string]func(map[string]string){
		"no issue":             func(a map[string]string) { delete(a, v1alpha1.IssuedAtAnnotation) },
		"no expiry":            func(a map[string]string) { a[v1alpha1.ExpiresAtAnnotation] = "soon" },
		"expired before birth": func(a map[string]string) { a[v1alpha1.ExpiresAtAnnotation] = a[v1alpha1.IssuedAtAnnotation] },
	} {
		m := written(b, held(b))
		change(m.Annotations)
		if s := Inspect(m, b); s.Held != nil || s.Intact {
			t.Errorf("%s: found %+v", name, s.Held)
		}
	}
}

// Notes that need not be there count only while they are the operator's own.
func TestNotesOfOthersAreNone(t *testing.T) {
	b := binding()
	m := written(b, held(b))
	m.ManagedFields[0].FieldsV1 = fields(tokenfile.Keys(formats(b)), bookkeeping, nil)
	want := held(b)
	want.Note = Note{Made: wants(b)}
	if got := Inspect(m, b).Held; !reflect.DeepEqual(*got, want) {
		t.Errorf("found %+v, want %+v", got, want)
	}
}

// Earlier operators wrote a sentence about the lifetime. The reason that it gave is still shown, and costs no exchange.
func TestLifetimeOfAnEarlierOperator(t *testing.T) {
	for note, want := range map[string]keycard.Lifetime{
		"": {},
		"expires_in is missing; the token is taken to live 5m0s":                                                                 {Source: keycard.LifetimeAssumed},
		"the announced lifetime is over 24 hours; took it as 24 hours; the token is taken to live 24h0m0s":                       {Source: keycard.LifetimeAssumed},
		"the clocks disagree: the token's exp claim is later than expires_in; used expires_in; the token is taken to live 10m0s": {Source: keycard.LifetimeAssumed},
		"the clocks disagree: the token's exp claim has passed, by this clock; used expires_in; the token is taken to live 5m0s": {Source: keycard.LifetimeAssumed},
		"ExpClaim Given -10m0s": {Source: keycard.LifetimeFromClaim, Announced: keycard.AnnouncementGiven, ClockSkew: -10 * time.Minute},
	} {
		if got := parseLifetime(note); got != want || got.Odd() != (note != "") {
			t.Errorf("%q: %+v, want %+v", note, got, want)
		}
	}
}

func TestIntact(t *testing.T) {
	all, base := tokenfile.Keys([]tokenfile.Format{tokenfile.Header, tokenfile.Curl}), tokenfile.Keys(nil)
	type entry = metav1.ManagedFieldsEntry
	tests := map[string]struct {
		change func(*entry)
		layout string // "" is the wanted one
		want   bool
	}{
		"ours":                           {func(*entry) {}, "", true},
		"a key was taken":                {func(e *entry) { e.FieldsV1 = fields(all[1:], bookkeeping, nil) }, "", false},
		"a note was taken":               {func(e *entry) { e.FieldsV1 = fields(all, bookkeeping[1:], nil) }, "", false},
		"a format is missing":            {func(e *entry) { e.FieldsV1 = fields(base, bookkeeping, nil) }, "", false},
		"a format of another layout":     {func(e *entry) { e.FieldsV1 = fields(base, bookkeeping, nil) }, "other", true},
		"a key was taken of the other":   {func(e *entry) { e.FieldsV1 = fields(base[1:], bookkeeping, nil) }, "other", false},
		"another manager":                {func(e *entry) { e.Manager = "kubectl" }, "", false},
		"another operation":              {func(e *entry) { e.Operation = metav1.ManagedFieldsOperationUpdate }, "", false},
		"a subresource":                  {func(e *entry) { e.Subresource = "status" }, "", false},
		"no fields":                      {func(e *entry) { e.FieldsV1 = nil }, "", false},
		"fields that are not":            {func(e *entry) { e.FieldsV1 = &metav1.FieldsV1{Raw: []byte("{")} }, "", false}, //nolint:staticcheck // a fixture
		"labels and annotations missing": {func(e *entry) { e.FieldsV1 = fields(all, bookkeeping, nil) }, "", true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := binding()
			h := held(b)
			if tc.layout != "" {
				h.Made.Layout = tc.layout
			}
			m := written(b, h)
			tc.change(&m.ManagedFields[0])
			if got := Inspect(m, b).Intact; got != tc.want {
				t.Errorf("intact: %v", got)
			}
		})
	}
	b := binding()
	m := written(b, held(b))
	m.ManagedFields = nil
	if s := Inspect(m, b); s.Intact || s.Dressed {
		t.Error("a Secret without managed fields is intact")
	}
}

func TestDressed(t *testing.T) {
	all := tokenfile.Keys([]tokenfile.Format{tokenfile.Header, tokenfile.Curl})
	notes, names := append([]string{"x"}, bookkeeping...), []string{"a", "b", v1alpha1.ManagedByLabel}
	for name, tc := range map[string]struct {
		change func(*metav1.PartialObjectMetadata)
		want   bool
	}{
		"all":                     {func(*metav1.PartialObjectMetadata) {}, true},
		"an annotation was taken": {func(m *metav1.PartialObjectMetadata) { m.ManagedFields[0].FieldsV1 = fields(all, bookkeeping, names) }, false},
		"a label was taken":       {func(m *metav1.PartialObjectMetadata) { m.ManagedFields[0].FieldsV1 = fields(all, notes, names[1:]) }, false},
		"the mark was taken":      {func(m *metav1.PartialObjectMetadata) { m.ManagedFields[0].FieldsV1 = fields(all, notes, names[:2]) }, false},
		"the owner was taken":     {func(m *metav1.PartialObjectMetadata) { m.OwnerReferences = nil }, false},
	} {
		b := binding()
		m := written(b, held(b))
		tc.change(m)
		if s := Inspect(m, b); s.Dressed != tc.want || !s.Intact {
			t.Errorf("%s: dressed: %v, intact: %v", name, s.Dressed, s.Intact)
		}
	}
}

func TestMadeFor(t *testing.T) {
	b := binding()
	h := held(b)
	for name, tc := range map[string]struct {
		want Wanted
		is   bool
	}{
		"as wanted":                        {wants(b), true},
		"for another exchange":             {Wants(&b.Spec).Of("https://other", "", nil), false},
		"no install":                       {Wants(&b.Spec), true},
		"no install, and another spec":     {Wanted{Spec: "other"}, false},
		"another layout is no other token": {Wanted{Exchange: h.Made.Exchange, Layout: "other"}, true},
	} {
		if got := h.MadeFor(tc.want); got != tc.is {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestOwner(t *testing.T) {
	alone := func(m *metav1.PartialObjectMetadata, _ *v1alpha1.ConfluenceTokenBinding) { m.OwnerReferences = nil }
	made := func(by string, op metav1.ManagedFieldsOperationType, at time.Time, raw string) metav1.ManagedFieldsEntry {
		when := metav1.NewTime(at)
		return metav1.ManagedFieldsEntry{Manager: by, Operation: op, Time: &when, FieldsV1: &metav1.FieldsV1{Raw: []byte(raw)}} //nolint:staticcheck // a fixture
	}
	with := func(first bool, entry metav1.ManagedFieldsEntry) func(*metav1.PartialObjectMetadata, *v1alpha1.ConfluenceTokenBinding) {
		return func(m *metav1.PartialObjectMetadata, b *v1alpha1.ConfluenceTokenBinding) {
			m.ManagedFields = append(m.ManagedFields, entry)
			if first {
				b.Status = v1alpha1.ConfluenceTokenBindingStatus{}
			}
		}
	}
	const update, apply = metav1.ManagedFieldsOperationUpdate, metav1.ManagedFieldsOperationApply
	for name, tc := range map[string]struct {
		change func(*metav1.PartialObjectMetadata, *v1alpha1.ConfluenceTokenBinding)
		want   owner
	}{
		"controlled": {func(*metav1.PartialObjectMetadata, *v1alpha1.ConfluenceTokenBinding) {}, ours},
		"controlled, of a status that was lost": {func(_ *metav1.PartialObjectMetadata, b *v1alpha1.ConfluenceTokenBinding) {
			b.Status = v1alpha1.ConfluenceTokenBindingStatus{}
		}, ours},
		"strayed": {alone, ours},
		"alone, of another token": {func(m *metav1.PartialObjectMetadata, b *v1alpha1.ConfluenceTokenBinding) {
			alone(m, b)
			b.Status.ExpiresAt = &metav1.Time{Time: noon}
		}, theirs},
		"alone, of another issue": {func(m *metav1.PartialObjectMetadata, b *v1alpha1.ConfluenceTokenBinding) {
			alone(m, b)
			b.Status.IssuedAt = &metav1.Time{Time: noon.Add(time.Second)}
		}, theirs},
		"alone, of a binding made anew": {func(m *metav1.PartialObjectMetadata, b *v1alpha1.ConfluenceTokenBinding) {
			alone(m, b)
			b.Status = v1alpha1.ConfluenceTokenBindingStatus{}
		}, theirs},
		"a copy": {func(m *metav1.PartialObjectMetadata, b *v1alpha1.ConfluenceTokenBinding) {
			alone(m, b)
			m.ManagedFields[0].Manager = "kubectl"
		}, theirs},
		"of another binding": {func(m *metav1.PartialObjectMetadata, _ *v1alpha1.ConfluenceTokenBinding) {
			m.OwnerReferences[0].UID = "other"
		}, theirs},
		"made by someone else":           {with(true, made("kubectl", update, noon, `{"f:type":{}}`)), overwritten},
		"applied by someone else":        {with(true, made("argocd", apply, noon, `{"f:data":{"f:x":{}}}`)), overwritten},
		"made by someone else, long ago": {with(false, made("kubectl", update, noon, `{"f:type":{}}`)), ours},
		"applied to later":               {with(true, made("argocd", apply, noon.Add(time.Second), `{"f:data":{"f:x":{}}}`)), ours},
		"changed by someone else":        {with(true, made("kubectl", update, noon, `{"f:data":{"f:x":{}}}`)), ours},
		"labelled by someone else":       {with(true, made("argocd", apply, noon, `{"f:metadata":{"f:labels":{"f:x":{}}}}`)), ours},
	} {
		t.Run(name, func(t *testing.T) {
			b := binding()
			h := held(b)
			b.Status.IssuedAt, b.Status.ExpiresAt = &metav1.Time{Time: h.Life.IssuedAt}, &metav1.Time{Time: h.Life.ExpiresAt}
			m := written(b, h)
			tc.change(m, b)
			if got := ownerOf(Inspect(m, b), b); got != tc.want {
				t.Errorf("owner %d, want %d", got, tc.want)
			}
		})
	}
}
