// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package redacted_test

import (
	"bytes"
	"encoding"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"testing"

	"github.com/go-logr/logr/funcr"
	. "github.com/onsi/gomega"
	"pgregory.net/rapid"

	"github.com/keycardai/keycard-operator/internal/redacted"
)

const canary = "canary-5f2d9c"

type holder struct {
	Name    string
	Secret  redacted.String
	Pointer *redacted.String
	List    []redacted.String
	Map     map[string]redacted.String
	Any     any
	private redacted.String
	nested  struct{ deep redacted.String }
}

func newHolder() holder {
	s := redacted.New(canary)
	h := holder{
		Name: "visible", Secret: s, Pointer: &s, List: []redacted.String{s},
		Map: map[string]redacted.String{"k": s}, Any: s, private: s,
	}
	h.nested.deep = s
	return h
}

func TestFormatting(t *testing.T) {
	for _, verb := range []string{
		"%v", "%+v", "%#v", "%s", "%q", "%+q", "%x", "%X", "% x", "%#x", "%d", "%10s", "%-40v", "%.3s", "%t", "%c",
	} {
		t.Run(verb, func(t *testing.T) {
			g := NewWithT(t)
			s := redacted.New(canary)
			g.Expect(fmt.Sprintf(verb, s)).To(Equal(redacted.Placeholder))

			h := newHolder()
			for _, text := range []string{
				fmt.Sprintf(verb, &s), fmt.Sprintf(verb, h), fmt.Sprintf(verb, &h), fmt.Sprintf(verb, []any{h}),
			} {
				g.Expect(text).NotTo(ContainSubstring(canary))
				g.Expect(text).NotTo(ContainSubstring(fmt.Sprintf("%x", canary)))
			}
		})
	}
}

func TestStringers(t *testing.T) {
	g := NewWithT(t)
	s := redacted.New(canary)
	g.Expect(s.String()).To(Equal(redacted.Placeholder))
	g.Expect(s.GoString()).To(Equal(redacted.Placeholder))
	g.Expect(fmt.Sprint(s)).To(Equal(redacted.Placeholder))
	g.Expect(fmt.Errorf("using %v: %w", s, fmt.Errorf("%q", s)).Error()).NotTo(ContainSubstring(canary))
	g.Expect(redacted.String{}.String()).To(Equal(redacted.Placeholder), "even emptiness is not shown")
}

func TestEncoders(t *testing.T) {
	g := NewWithT(t)
	h := newHolder()

	encoded, err := json.Marshal(h)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(encoded)).To(ContainSubstring(`"Secret":"[redacted]"`))
	g.Expect(string(encoded)).NotTo(ContainSubstring(canary))

	type element struct {
		Secret redacted.String
		Attr   redacted.String `xml:"attr,attr"`
	}
	encoded, err = xml.Marshal(element{h.Secret, h.Secret})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(encoded)).NotTo(ContainSubstring(canary))

	text, err := encoding.TextMarshaler(h.Secret).MarshalText()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(text)).To(Equal(redacted.Placeholder))
}

func TestOmitZero(t *testing.T) {
	g := NewWithT(t)
	type body struct {
		Secret redacted.String `json:"secret,omitzero"`
	}
	encoded, err := json.Marshal(body{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(encoded)).To(Equal(`{}`))
	encoded, err = json.Marshal(body{redacted.New(canary)})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(encoded)).To(Equal(`{"secret":"[redacted]"}`))
}

func TestLoggers(t *testing.T) {
	h := newHolder()
	t.Run("slog", func(t *testing.T) {
		g := NewWithT(t)
		var out bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
			slog.New(handler).Info("m", "secret", h.Secret, "pointer", &h.Secret, "holder", h, "group", slog.GroupValue(slog.Any("s", h.List)))
		}
		g.Expect(out.String()).To(ContainSubstring(redacted.Placeholder))
		g.Expect(out.String()).NotTo(ContainSubstring(canary))
		g.Expect(h.Secret.LogValue().String()).To(Equal(redacted.Placeholder))
	})
	t.Run("logr", func(t *testing.T) {
		g := NewWithT(t)
		var out bytes.Buffer
		write := func(args string) { out.WriteString(args) }
		funcr.NewJSON(write, funcr.Options{}).Info("m", "secret", h.Secret, "holder", h, "pointer", &h)
		funcr.New(func(prefix, args string) { write(prefix + args) }, funcr.Options{}).Info("m", "secret", h.Secret, "holder", h, "pointer", &h)
		g.Expect(out.String()).To(ContainSubstring(redacted.Placeholder))
		g.Expect(out.String()).NotTo(ContainSubstring(canary))
	})
}

func TestUnmarshalJSON(t *testing.T) {
	tests := map[string]struct {
		input   string
		want    string
		wantErr bool
	}{
		"string":  {input: `{"s":"canary-5f2d9c"}`, want: canary},
		"escaped": {input: `{"s":"a\"\u00e9"}`, want: `a"é`},
		"empty":   {input: `{"s":""}`},
		"null":    {input: `{"s":null}`},
		"absent":  {input: `{}`},
		"number":  {input: `{"s":5551234}`, wantErr: true},
		"object":  {input: `{"s":{"canary-5f2d9c":1}}`, wantErr: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			var out struct {
				S redacted.String `json:"s"`
			}
			err := json.Unmarshal([]byte(tc.input), &out)
			if tc.wantErr {
				g.Expect(err).To(HaveOccurred())
				g.Expect(err.Error()).NotTo(ContainSubstring(canary))
				g.Expect(err.Error()).NotTo(ContainSubstring("5551234"))
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(out.S.Reveal()).To(Equal(tc.want))
			g.Expect(out.S.IsZero()).To(Equal(tc.want == ""))
		})
	}
}

func TestUnmarshalReplacesTheValueWithoutTouchingCopies(t *testing.T) {
	g := NewWithT(t)
	s := redacted.New(canary)
	copied := s
	g.Expect(json.Unmarshal([]byte(`"other"`), &s)).To(Succeed())
	g.Expect(s.Reveal()).To(Equal("other"))
	g.Expect(copied.Reveal()).To(Equal(canary))
	g.Expect(json.Unmarshal([]byte(`null`), &s)).To(Succeed())
	g.Expect(s.IsZero()).To(BeTrue())
}

func TestEqualAgreesWithTheValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.String().Draw(t, "a"), rapid.String().Draw(t, "b")
		if redacted.New(a).Equal(redacted.New(b)) != (a == b) {
			t.Fatalf("Equal(%q, %q) is wrong", a, b)
		}
		if !redacted.New(a).Equal(redacted.New(a)) || redacted.New(a).Reveal() != a || redacted.New(a).IsZero() != (a == "") {
			t.Fatalf("%q does not survive", a)
		}
	})
}
