// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"bytes"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/policy"
)

// What the schema does not know is told by its name.
func TestMisfits(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string
	}{
		"everything":         {permitAll, nil},
		"a user":             {forbidAlice, nil},
		"of the seed":        {policy.Impersonation("reports", []string{"alice"}), nil},
		"a known claim":      {`permit (principal, action, resource) when { context.subject_claims has iss && context.subject_claims.iss == "x" };`, nil},
		"entity type":        {`permit (principal is Keycard::Client, action, resource);`, []string{"Keycard::Client"}},
		"entity":             {`permit (principal, action, resource in Keycard::Group::"x");`, []string{"Keycard::Group"}},
		"action":             {`permit (principal, action == Keycard::Action::"issue", resource);`, []string{`Keycard::Action::"issue"`}},
		"attribute":          {`permit (principal is Keycard::User, action, resource) when { principal.mail == "x" };`, []string{"mail"}},
		"not of both":        {`permit (principal, action, resource) when { principal.email == "x" };`, []string{"email", "Keycard::Application"}},
		"without has":        {permitBackground, []string{"optional attribute `subject`"}},
		"type":               {`permit (principal, action, resource) when { principal.identifier == 1 };`, []string{"type"}},
		"in the second rule": {permitAll + `permit (principal is Keycard::Usr, action, resource);`, []string{"Keycard::Usr"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got, err := policy.Misfits(tt.text)
			g.Expect(err).NotTo(HaveOccurred())
			if tt.want == nil {
				g.Expect(got).To(BeEmpty())
			}
			for _, word := range tt.want {
				g.Expect(strings.Join(got, "; ")).To(ContainSubstring(word))
			}
		})
	}
	_, err := policy.Misfits("permit")
	NewWithT(t).Expect(err).To(MatchError(ContainSubstring("is not a Cedar policy")))
}

// The depth of a text is what the time to show it depends on.
func TestTooDeep(t *testing.T) {
	const n = 1000
	for name, condition := range map[string]string{
		"sets":      strings.Repeat("[", n) + strings.Repeat("]", n) + " == []",
		"chain":     "true" + strings.Repeat(" && true", n),
		"not":       strings.Repeat("!", n) + "true",
		"path":      "context" + strings.Repeat(".a", n) + " == 1",
		"has":       "context has a" + strings.Repeat(".a", n),
		"branches":  strings.Repeat("if true then ", n) + "true" + strings.Repeat(" else true", n),
		"arguments": strings.Repeat("[].contains(", n) + "1" + strings.Repeat(")", n),
		"records":   strings.Repeat("{a: ", n) + "1" + strings.Repeat("}", n) + " == {}",
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(policy.Check("permit (principal, action, resource) when { " + condition + " };")).
				To(MatchError("is nested more than 250 levels deep: test for one of many values with [...].contains(...)"))
		})
	}
	g := NewWithT(t)
	wide := `permit (principal, action, resource) when { [` + strings.Repeat(`"alice", `, n) + `"bob"].contains(principal.identifier) };`
	g.Expect(policy.Check(wide)).To(Succeed(), "wide is not deep")
	chain := `permit (principal, action, resource) when { true` + strings.Repeat(" || false", 200) + " };"
	g.Expect(policy.Check(chain)).To(Succeed())
	// Deep JSON does not get past what deep text does not, values included.
	const head = `{"effect":"permit","principal":{"op":"All"},"action":{"op":"All"},"resource":{"op":"All"},"conditions":[{"kind":"when","body":`
	deep := strings.Repeat(`{"!":{"arg":`, n) + `{"Value":true}` + strings.Repeat("}}", n)
	_, err := policy.FromJSON([]byte(head + deep + `}]}`))
	g.Expect(err).To(MatchError(ContainSubstring("levels deep")))
	_, err = policy.FromJSON([]byte(head + `{"Value":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}}]}`))
	g.Expect(err).To(MatchError(ContainSubstring("levels deep")))
}

// What is a name or a value in JSON can't become a rule in text, or something
// that can't be read: a set that can't be compiled would refuse every token.
func TestJSONForm(t *testing.T) {
	const anything = `"action":{"op":"All"},"resource":{"op":"All"},"conditions":[`
	tests := map[string]struct{ principal, body, want string }{
		"type with a space":   {`{"op":"is","entity_type":"Key card"}`, "", ""},
		"type that is a rule": {`{"op":"is","entity_type":"Keycard::User, action, resource); permit (principal"}`, "", ""},
		"unknown function":    {`{"op":"All"}`, `{"evil":[]}`, ""},
		"id that is a rule":   {`{"op":"==","entity":{"type":"Keycard::User","id":"\"); permit (principal"}}`, "", `Keycard::User::"\"); permit (principal"`},
		"nested value":        {`{"op":"All"}`, `{"==":{"left":{"Value":[["a"]]},"right":{"Value":[]}}}`, `[["a"]] == []`},
		"address":             {`{"op":"All"}`, `{"isIpv4":[{"Value":{"__extn":{"fn":"ip","arg":"10.0.0.1"}}}]}`, `ip("10.0.0.1").isIpv4()`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			conditions := ""
			if tt.body != "" {
				conditions = `{"kind":"when","body":` + tt.body + `}`
			}
			text, err := policy.FromJSON([]byte(`{"effect":"forbid","principal":` + tt.principal + `,` + anything + conditions + `]}`))
			if tt.want == "" {
				g.Expect(err).To(HaveOccurred())
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(text).To(ContainSubstring(tt.want))
			g.Expect(policy.Check(text)).To(Succeed())
		})
	}
}

// What is accepted can be shown in both forms, and they say the same.
func FuzzText(f *testing.F) {
	for _, text := range []string{permitAll, forbidAlice, permitBackground, permitAll + forbidAlice, policy.Impersonation(`o"hara`, []string{"\x00", "é"}), "permit (", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > policy.MaxText || policy.Check(text) != nil {
			return
		}
		raw, err := policy.ToJSON(text)
		if err != nil {
			t.Fatalf("accepted, but has no JSON form: %v", err)
		}
		back, err := policy.FromJSON(raw)
		if err != nil {
			t.Fatalf("the JSON form is refused: %v\n%s", err, raw)
		}
		again, err := policy.ToJSON(back)
		if err != nil || !bytes.Equal(again, raw) {
			t.Fatalf("changed on the way: %v\n%s\n%s", err, raw, again)
		}
		if _, err := policy.Misfits(text); err != nil {
			t.Fatalf("accepted, but can't be checked: %v", err)
		}
	})
}
