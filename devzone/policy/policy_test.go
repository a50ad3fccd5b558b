// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"

	"github.com/keycardai/keycard-operator/devzone/policy"
	"github.com/keycardai/keycard-operator/devzone/store"
)

const zone = "z"

// zoneWith is a zone with the platform's policies and, in an active set named
// "own", more.
func zoneWith(t rapid.TB, more ...string) *store.Store {
	t.Helper()
	st := store.New(time.Now)
	err := st.Do(func(tx *store.Tx) error {
		manifest, err := policy.Install(tx, zone)
		if err != nil || more == nil {
			return err
		}
		var named []policy.Named
		for i, text := range more {
			named = append(named, policy.Named{Name: fmt.Sprint("more-", i), Cedar: text})
		}
		added, err := policy.AddPolicies(tx, zone, store.OwnerCustomer, named)
		if err != nil {
			return err
		}
		return policy.AddSet(tx, zone, store.OwnerCustomer, "own", append(manifest, added...))
	})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func decide(t rapid.TB, st *store.Store, q policy.Request) policy.Decision {
	t.Helper()
	var d policy.Decision
	err := st.View(func(tx *store.Tx) (err error) {
		d, err = new(policy.Engine).Decide(tx, zone, q)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func user(identifier string, groups ...string) *store.User {
	return &store.User{Meta: store.Meta{ID: "id-" + identifier}, Identifier: identifier, Email: identifier + "@example.com", Groups: groups}
}

// ask is the application reports asking for Confluence.
func ask(change func(q *policy.Request)) policy.Request {
	q := policy.Request{
		Application:    store.Application{Meta: store.Meta{ID: "app-1"}, Identifier: "reports", Name: "Reports"},
		CredentialType: store.CredentialPassword, Registration: "managed", Dependencies: []string{"urn:confluence"},
		Resource: store.Resource{Meta: store.Meta{ID: "res-1"}, Identifier: "urn:confluence", Name: "Confluence", Scopes: []string{"read", "write"}},
	}
	if change != nil {
		change(&q)
	}
	return q
}

func itself(*policy.Request)      {}
func delegated(q *policy.Request) { q.Subject = user("alice") }
func absent(q *policy.Request)    { q.Subject, q.Impersonate = user("alice"), true }

const (
	forbidAlice      = `forbid (principal is Keycard::User, action, resource) when { principal.identifier == "alice" };`
	permitAll        = `permit (principal, action, resource);`
	permitBackground = `permit (principal is Keycard::Application, action, resource)
		when { context.impersonate && principal.identifier == "reports" && resource.identifier == "urn:confluence" && context.subject.identifier == "alice" };`
)

func TestDecide(t *testing.T) {
	tests := map[string]struct {
		more    []string
		ask     func(q *policy.Request)
		allowed bool
		want    string
	}{
		"for itself":                  {nil, itself, true, "default-app-direct-access"},
		"delegation":                  {nil, delegated, true, "default-user-grants default-app-delegation"},
		"impersonation":               {nil, absent, false, "default-user-grants"},
		"permitted impersonation":     {[]string{permitBackground}, absent, true, "default-user-grants more-0"},
		"of somebody else":            {[]string{permitBackground}, func(q *policy.Request) { absent(q); q.Subject = user("bob") }, false, "default-user-grants"},
		"by another application":      {[]string{permitBackground}, func(q *policy.Request) { absent(q); q.Application.Identifier = "x" }, false, "default-user-grants"},
		"case matters":                {[]string{permitBackground}, func(q *policy.Request) { absent(q); q.Subject = user("Alice") }, false, "default-user-grants"},
		"impersonation of the seed":   {[]string{policy.Impersonation("reports", []string{`o"hara`, "alice"})}, absent, true, "default-user-grants more-0"},
		"forbid beats permit":         {[]string{permitAll, forbidAlice}, delegated, false, "more-1"},
		"the user is not concerned":   {[]string{forbidAlice}, itself, true, "default-app-direct-access"},
		"forbidden application":       {[]string{`forbid (principal is Keycard::Application, action, resource) when { principal.credential_type == "password" };`}, delegated, false, "more-0"},
		"group":                       {[]string{`forbid (principal is Keycard::User, action, resource) unless { principal.groups.contains("staff") };`}, delegated, false, "more-0"},
		"in the group":                {[]string{`forbid (principal is Keycard::User, action, resource) unless { principal.groups.contains("staff") };`}, func(q *policy.Request) { q.Subject = user("alice", "staff") }, true, "default-user-grants default-app-delegation"},
		"e-mail":                      {[]string{`forbid (principal is Keycard::User, action, resource) when { principal.email like "*@example.com" };`}, delegated, false, "more-0"},
		"by id":                       {[]string{`forbid (principal == Keycard::Application::"app-1", action, resource);`}, itself, false, "more-0"},
		"by action":                   {[]string{`forbid (principal, action == Keycard::Action::"credentials:issue", resource);`}, itself, false, "more-0"},
		"by dependency":               {[]string{`forbid (principal is Keycard::Application, action, resource) when { principal.dependencies.contains("urn:confluence") };`}, itself, false, "more-0"},
		"registered by itself":        {[]string{`forbid (principal is Keycard::Application, action, resource) when { principal.registration_method == "dcr" };`}, func(q *policy.Request) { q.Registration = "dcr" }, false, "more-0"},
		"a claim":                     {[]string{`forbid (principal, action, resource) when { context.subject_claims has iss && context.subject_claims.iss == "https://x" };`}, func(q *policy.Request) { q.SubjectClaims = map[string]any{"iss": "https://x"} }, false, "more-0"},
		"a claim that is a set":       {[]string{`forbid (principal, action, resource) when { context.actor_claims has aud && context.actor_claims.aud.contains("urn:api") };`}, func(q *policy.Request) { q.ActorClaims = map[string]any{"aud": []any{"urn:api", nil}} }, false, "more-0"},
		"a claim that is a number":    {[]string{`forbid (principal, action, resource) when { context.subject_claims has iat && context.subject_claims.iat < 5 };`}, func(q *policy.Request) { q.SubjectClaims = map[string]any{"iat": json.Number("4")} }, false, "more-0"},
		"a claim within a claim":      {[]string{`forbid (principal, action, resource) when { context.subject_claims has act && context.subject_claims.act.sub == "x" };`}, func(q *policy.Request) { q.SubjectClaims = map[string]any{"act": map[string]any{"sub": "x"}} }, false, "more-0"},
		"a claim that Cedar has not":  {[]string{`forbid (principal, action, resource) when { context.subject_claims has half };`}, func(q *policy.Request) { q.SubjectClaims = map[string]any{"half": json.Number("0.5")} }, true, "default-app-direct-access"},
		"an error counts for nothing": {[]string{`forbid (principal, action, resource) when { principal.nothing == 1 };`}, itself, true, "default-app-direct-access"},
		"several statements":          {[]string{permitAll + forbidAlice}, delegated, false, "more-0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			d := decide(t, zoneWith(t, tt.more...), ask(tt.ask))
			g.Expect(d.Allowed).To(Equal(tt.allowed))
			g.Expect(d.Policies).To(ConsistOf(strings.Fields(tt.want)))
			if name == "an error counts for nothing" {
				g.Expect(d.Errors).To(ConsistOf(HavePrefix("more-0: ")))
			} else {
				g.Expect(d.Errors).To(BeEmpty())
			}
		})
	}
}

func TestDenial(t *testing.T) {
	g := NewWithT(t)
	g.Expect(decide(t, zoneWith(t), ask(absent)).Denial()).To(Equal(
		"Access denied by policy. Policy set: default-zone-policies. Policy set version: 1. Determining policies: default-user-grants."))
	empty := decide(t, store.New(time.Now), ask(nil))
	g.Expect(empty.Allowed).To(BeFalse(), "a zone without an active set allows nothing")
}

// Each scope is decided by itself, and what is not permitted is dropped.
func TestScopes(t *testing.T) {
	noWriting := `forbid (principal, action, resource) when { context.scopes.contains("write") };`
	for name, tt := range map[string]struct {
		scopes   []string
		allowed  bool
		permits  []string
		refusing []string
	}{
		"none asked for": {nil, true, nil, nil},
		"permitted":      {[]string{"read"}, true, []string{"read"}, nil},
		"one dropped":    {[]string{"read", "write"}, true, []string{"read"}, []string{"more-0"}},
		"all refused":    {[]string{"write"}, false, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			d := decide(t, zoneWith(t, noWriting), ask(func(q *policy.Request) { q.Scopes = tt.scopes }))
			g.Expect(d.Allowed).To(Equal(tt.allowed))
			g.Expect(d.Scopes).To(Equal(tt.permits))
			g.Expect(d.Refusing).To(Equal(tt.refusing))
			if !tt.allowed {
				g.Expect(d.Policies).To(Equal([]string{"more-0"}))
			}
		})
	}
}

// The shadow set is asked too and decides nothing.
func TestShadow(t *testing.T) {
	g := NewWithT(t)
	st := zoneWith(t, forbidAlice)
	g.Expect(st.Do(func(tx *store.Tx) error {
		sets := tx.PolicySets.All(zone, nil)
		own := sets[1]
		version := own.ActiveVersionID
		first, err := tx.PolicySetVersions.Get(zone, tx.PolicySetVersionsOf(zone, sets[0].ID)[0].ID)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(tx.Activate(first)).To(Succeed())
		own, err = tx.PolicySets.Get(zone, own.ID)
		own.ShadowVersionID = version
		g.Expect(err).NotTo(HaveOccurred())
		_, err = tx.PolicySets.Replace(own)
		return err
	})).To(Succeed())
	d := decide(t, st, ask(delegated))
	g.Expect(d.Allowed).To(BeTrue())
	g.Expect(d.Set).To(Equal("default-zone-policies"))
	g.Expect(d.Shadow).NotTo(BeNil())
	g.Expect(d.Shadow.Allowed).To(BeFalse())
	g.Expect(d.Shadow.Set).To(Equal("own"))
}

// ownSet is the set "own".
func ownSet(tx *store.Tx) store.PolicySet {
	return tx.PolicySets.All(zone, func(s store.PolicySet) bool { return s.Name == "own" })[0]
}

// A version that is activated while it is the shadow decides, and has no shadow.
func TestShadowIsActivated(t *testing.T) {
	g := NewWithT(t)
	st := zoneWith(t, forbidAlice)
	g.Expect(st.Do(func(tx *store.Tx) error {
		set := ownSet(tx)
		version, err := tx.PolicySetVersions.Get(zone, set.ActiveVersionID)
		if err != nil {
			return err
		}
		set.ActiveVersionID, set.ShadowVersionID = "", version.ID
		if _, err := tx.PolicySets.Replace(set); err != nil {
			return err
		}
		return tx.Activate(version)
	})).To(Succeed())
	d := decide(t, st, ask(delegated))
	g.Expect(d.Set).To(Equal("own"))
	g.Expect(d.Policies).To(Equal([]string{"more-0"}))
	g.Expect(d.Shadow).To(BeNil())
}

// The names in a decision are those of today, also when the set has decided
// before they changed.
func TestRenamed(t *testing.T) {
	g := NewWithT(t)
	st := zoneWith(t, forbidAlice+`forbid (principal, action, resource) when { principal.nothing == 1 };`)
	var e policy.Engine
	decision := func() (d policy.Decision) {
		g.Expect(st.View(func(tx *store.Tx) (err error) {
			d, err = e.Decide(tx, zone, ask(delegated))
			return err
		})).To(Succeed())
		return d
	}
	g.Expect(decision().Policies).To(Equal([]string{"more-0"}))
	g.Expect(st.Do(func(tx *store.Tx) error {
		p := tx.Policies.All(zone, func(p store.Policy) bool { return p.Name == "more-0" })[0]
		p.Name = "night"
		if _, err := tx.Policies.Replace(p); err != nil {
			return err
		}
		set := ownSet(tx)
		set.Name = "ours"
		_, err := tx.PolicySets.Replace(set)
		return err
	})).To(Succeed())
	d := decision()
	g.Expect(d.Denial()).To(Equal("Access denied by policy. Policy set: ours. Policy set version: 1. Determining policies: night."))
	g.Expect(d.Errors).To(HaveEach(HavePrefix("night: ")))
	g.Expect(d.Errors).NotTo(BeEmpty())
}

// More permits never take away, more forbids never give.
func TestMonotony(t *testing.T) {
	conditions := []string{
		"true", "context.impersonate", "!context.on_behalf", `principal.identifier == "alice"`, `principal.identifier == "reports"`,
		`context.scopes.contains("write")`, "principal.nothing == 1",
	}
	draw := func(t *rapid.T, effect string) string {
		return effect + " (principal, action, resource) when { " + rapid.SampledFrom(conditions).Draw(t, effect) + " };"
	}
	rapid.Check(t, func(t *rapid.T) {
		policies := []string{draw(t, "permit")}
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			policies = append(policies, draw(t, rapid.SampledFrom([]string{"permit", "forbid"}).Draw(t, "effect")))
		}
		q := ask(rapid.SampledFrom([]func(*policy.Request){itself, delegated, absent}).Draw(t, "ask"))
		q.Scopes = rapid.SampledFrom([][]string{nil, {"read"}, {"read", "write"}}).Draw(t, "scopes")
		before := decide(t, zoneWith(t, policies...), q)
		if more := decide(t, zoneWith(t, append(policies, draw(t, "permit"))...), q); before.Allowed && (!more.Allowed || len(more.Scopes) < len(before.Scopes)) {
			t.Fatal("a permit took away")
		}
		if more := decide(t, zoneWith(t, append(policies, draw(t, "forbid"))...), q); more.Allowed && (!before.Allowed || len(more.Scopes) > len(before.Scopes)) {
			t.Fatal("a forbid gave")
		}
	})
}

func TestText(t *testing.T) {
	g := NewWithT(t)
	g.Expect(policy.Check(permitAll)).To(Succeed())
	g.Expect(policy.Check("")).To(MatchError("holds no policy"))
	g.Expect(policy.Check("// nothing")).To(MatchError("holds no policy"))
	g.Expect(policy.Check("permit (principal, action, resource)\nwhen { oops")).To(MatchError(And(ContainSubstring("is not a Cedar policy"), ContainSubstring("2"))))
	raw, err := policy.ToJSON(permitBackground)
	g.Expect(err).NotTo(HaveOccurred())
	text, err := policy.FromJSON(raw)
	g.Expect(err).NotTo(HaveOccurred())
	again, err := policy.ToJSON(text)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(again).To(MatchJSON(raw))
	several, err := policy.ToJSON(permitAll + forbidAlice)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(json.Valid(several)).To(BeTrue())
	text, err = policy.FromJSON(several)
	g.Expect(err).NotTo(HaveOccurred())
	again, err = policy.ToJSON(text)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(again).To(MatchJSON(several), "what one gives the other takes")
	_, err = policy.FromJSON([]byte(`{"staticPolicies":{}}`))
	g.Expect(err).To(MatchError("holds no policy"))
	_, err = policy.FromJSON([]byte(`{"staticPolicies":{},"templates":{"t":{}},"templateLinks":[]}`))
	g.Expect(err).To(MatchError(ContainSubstring("templates")))
	_, err = policy.FromJSON([]byte(`{"effect":"maybe"}`))
	g.Expect(err).To(MatchError(ContainSubstring("is not a Cedar policy in JSON")))
}

// A name in the seed can't leave its string literal.
func TestImpersonationIsQuoted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name, who := rapid.String().Draw(t, "application"), rapid.String().Draw(t, "user")
		st := zoneWith(t, policy.Impersonation(name, []string{who}))
		for _, tt := range []struct {
			application, user string
			allowed           bool
		}{{name, who, true}, {name + "x", who, false}, {name, who + "x", false}} {
			d := decide(t, st, ask(func(q *policy.Request) {
				q.Application.Identifier, q.Subject, q.Impersonate = tt.application, user(tt.user), true
			}))
			if d.Allowed != tt.allowed {
				t.Fatalf("%q as %q: %t", tt.application, tt.user, d.Allowed)
			}
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	st := zoneWith(b, permitBackground)
	var e policy.Engine
	q := ask(absent)
	b.ReportAllocs()
	for b.Loop() {
		_ = st.View(func(tx *store.Tx) error {
			d, err := e.Decide(tx, zone, q)
			if err != nil || !d.Allowed {
				b.Fatal(d, err)
			}
			return nil
		})
	}
}
