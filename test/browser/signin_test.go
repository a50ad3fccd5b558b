// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package browser_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// The whole way: sign in, consent, choose a site at Atlassian, back with a code
// that gives tokens; from then on an application works in the background.
func TestConsent(t *testing.T) {
	g := NewWithT(t)
	z := newZone(t, newSeed())
	z.install()
	g.Expect(z.impersonate("alice@example.com")).To(HaveKeyWithValue("error", "insufficient_authorization"))

	p := newVisitor(t)
	p.open(z.authorize(nil))
	p.checkPage()
	p.signIn("alice")
	p.sees("Landing page asks for access", "alice@example.com", "Confluence", confluence, "read:confluence-content.all",
		"You will be sent to Atlassian to agree there, too", "Know who you are")
	p.checkPage()
	p.press("button[value=approve]")
	p.sees("requests access")
	p.checkPage()
	p.agreeAtAtlassian("alice", umbrella)
	p.sees("Back at the application")
	g.Expect(p.Location()).To(HavePrefix(z.application))
	g.Expect(p.query("state")).To(Equal("st&te"))
	g.Expect(p.query("iss")).To(Equal(z.Issuer))

	tokens := z.redeem(p.query("code"))
	g.Expect(tokens).To(And(HaveKeyWithValue("status_code", 200), HaveKey("refresh_token"), HaveKey("id_token")))
	g.Expect(z.sites(tokens["access_token"].(string))).To(Equal([]string{umbrella}))
	g.Expect(z.grants()).To(ConsistOf(And(HaveKeyWithValue("status", "active"), HaveKeyWithValue("refresh_token_set", true))))
	background := z.impersonate("alice@example.com")
	g.Expect(background).To(HaveKeyWithValue("status_code", 200))
	g.Expect(z.sites(background["access_token"].(string))).To(Equal([]string{umbrella}))

	// She is signed in and has agreed: no page any more.
	p.open(z.authorize(url.Values{"resource": nil}))
	p.sees("Back at the application")
	g.Expect(z.redeem(p.query("code"))).To(HaveKeyWithValue("status_code", 200))
	// To name the resource is to connect it anew, here to another site.
	p.open(z.authorize(nil))
	p.agreeAtAtlassian("alice", acme)
	p.sees("Back at the application")
	g.Expect(z.sites(z.impersonate("alice@example.com")["access_token"].(string))).To(ConsistOf(acme, umbrella))
	g.Expect(z.grants()).To(HaveLen(1))
	// Signed out, she is asked again.
	p.open(z.ZoneURL + "/logout")
	p.checkPage()
	p.press("button.primary")
	p.sees("You are signed out")
	p.open(z.authorize(nil))
	p.sees("Sign in")
}

// An application without a place of its own ends on a page of the zone's.
func TestWindowToClose(t *testing.T) {
	g := NewWithT(t)
	z := newZone(t, newSeed())
	z.install()
	p := newVisitor(t)
	p.open(z.authorize(url.Values{"client_id": {"bare"}, "redirect_uri": nil}))
	p.signIn("alice")
	p.press("button[value=approve]")
	p.agreeAtAtlassian("alice", acme)
	p.sees("You are connected", "Bare application", "You can close this window")
	p.checkPage()
	g.Expect(z.impersonate("alice@example.com")).To(HaveKeyWithValue("status_code", 200))
}

func TestRefusals(t *testing.T) {
	z := newZone(t, newSeed())
	z.install()
	back := func(g Gomega, p *visitor, code, text string) {
		p.sees("Back at the application")
		g.Expect(p.query("error")).To(Equal(code))
		g.Expect(p.query("error_description")).To(ContainSubstring(text))
		g.Expect(p.query("state")).To(Equal("st&te"))
		g.Expect(z.grants()).To(BeEmpty())
	}
	t.Run("at the zone", func(t *testing.T) {
		p := newVisitor(t)
		p.open(z.authorize(nil))
		p.signIn("bob")
		p.press("button[value=deny]")
		back(NewWithT(t), p, "access_denied", "The person declined.")
	})
	t.Run("at Atlassian", func(t *testing.T) {
		p := newVisitor(t)
		p.open(z.authorize(nil))
		p.signIn("bob")
		p.press("button[value=approve]")
		p.sees("requests access")
		p.press("button[value=deny]")
		back(NewWithT(t), p, "access_denied", "Confluence: User did not authorize the request")
	})
	// Chromium holds redirects after a form to the form-action of its page, and
	// the zone does not know where an application redirects to.
	t.Run("and redirected by the application", func(t *testing.T) {
		p := newVisitor(t)
		p.open(z.authorize(url.Values{"state": {"elsewhere"}}))
		p.signIn("bob")
		p.press("button[value=deny]")
		p.sees("Back at the application")
		NewWithT(t).Expect(p.Location()).To(And(HavePrefix("http://localhost:"), HaveSuffix("/elsewhere")))
	})
	t.Run("without a page to go back to", func(t *testing.T) {
		p := newVisitor(t)
		p.open(z.authorize(url.Values{"client_id": {"bare"}, "redirect_uri": nil}))
		p.signIn("bob")
		p.press("button[value=deny]")
		p.sees("That did not work", "The person declined.")
		p.checkPage()
	})
	t.Run("wrong password", func(t *testing.T) {
		p := newVisitor(t)
		p.open(z.authorize(nil))
		p.sees("to continue to Landing page")
		p.fill("#identifier", "bob@example.com")
		p.fill("#password", "guess")
		p.press("button.primary")
		p.sees("The e-mail address or the password is wrong.")
		p.checkPage()
		NewWithT(t).Expect(ask[string](p, `document.querySelector("#identifier").value`)).To(Equal("bob@example.com"))
		p.fill("#password", "dev-only-bob-password")
		p.press("button.primary")
		p.sees("requests access")
	})
}

// An account without a site can agree; the token opens nothing, and the person
// is told by whoever uses it.
func TestNoSite(t *testing.T) {
	g := NewWithT(t)
	z := newZone(t, newSeed())
	z.install()
	p := newVisitor(t)
	p.open(z.authorize(nil))
	p.signIn("dora")
	p.press("button[value=approve]")
	p.agreeAtAtlassian("alice")
	p.sees("Choose at least one site.")
	p.checkPage()
	p.press("button[value=switch]")
	p.agreeAtAtlassian("dora")
	p.sees("Back at the application")
	tokens := z.redeem(p.query("code"))
	g.Expect(z.sites(tokens["access_token"].(string))).To(BeEmpty())
}

// The person at the keyboard is not the one who is signed in.
func TestAnotherAccount(t *testing.T) {
	g := NewWithT(t)
	z := newZone(t, newSeed())
	z.install()
	p := newVisitor(t)
	p.open(z.authorize(nil))
	p.signIn("alice")
	p.sees("You are signed in as alice@example.com")
	p.press("button[value=switch]")
	p.signIn("bob")
	p.sees("You are signed in as bob@example.com")
	p.press("button[value=approve]")
	p.agreeAtAtlassian("bob", acme)
	p.sees("Back at the application")
	g.Expect(z.impersonate("bob@example.com")).To(HaveKeyWithValue("status_code", 200))
	g.Expect(z.impersonate("alice@example.com")).To(HaveKeyWithValue("error", "insufficient_authorization"))
}

// What comes too late, twice, or from elsewhere leads to a page and changes
// nothing.
func TestStrayRequests(t *testing.T) {
	z := newZone(t, newSeed())
	z.install()
	const lost = "This page has expired, was used already, or was opened in another browser."
	// atAtlassian is a person who has to decide there.
	atAtlassian := func(t *testing.T) *visitor {
		p := newVisitor(t)
		p.open(z.authorize(url.Values{"prompt": {"consent"}}))
		p.signIn("bob")
		p.press("button[value=approve]")
		p.sees("requests access")
		return p
	}
	t.Run("expired", func(t *testing.T) {
		p := atAtlassian(t)
		z.advance(11 * time.Minute)
		// Atlassian's own page has expired as well; the state is the zone's.
		p.open(z.ZoneURL + "/oauth/2/redirect?code=x&state=" + url.QueryEscape(ask[string](p, `new URL(location).searchParams.get("state")`)))
		p.sees(lost)
	})
	t.Run("another browser", func(t *testing.T) {
		p := atAtlassian(t)
		stranger := newVisitor(t)
		stranger.open(z.ZoneURL + "/oauth/2/redirect?code=x&state=" + url.QueryEscape(ask[string](p, `new URL(location).searchParams.get("state")`)))
		stranger.sees(lost)
		p.agreeAtAtlassian("bob", acme)
		p.sees("Back at the application")
		NewWithT(t).Expect(z.impersonate("bob@example.com")).To(HaveKeyWithValue("status_code", 200))
	})
	t.Run("another state", func(t *testing.T) {
		p := atAtlassian(t)
		state := ask[string](p, `new URL(location).searchParams.get("state")`)
		id, _, _ := strings.Cut(state, ".")
		p.open(z.ZoneURL + "/oauth/2/redirect?code=x&state=" + id + ".guess")
		p.sees(lost)
	})
	t.Run("replayed", func(t *testing.T) {
		g := NewWithT(t)
		p := atAtlassian(t)
		state := ask[string](p, `new URL(location).searchParams.get("state")`)
		p.agreeAtAtlassian("bob", acme)
		p.sees("Back at the application")
		code := p.query("code")
		p.open(z.ZoneURL + "/oauth/2/redirect?code=x&state=" + url.QueryEscape(state))
		p.sees(lost)
		g.Expect(z.redeem(code)).To(HaveKeyWithValue("status_code", 200))
		g.Expect(z.redeem(code)).To(And(HaveKeyWithValue("error", "invalid_grant"),
			HaveKeyWithValue("error_description", ContainSubstring("was used before"))))
	})
	t.Run("form without the cookie", func(t *testing.T) {
		g := NewWithT(t)
		p := newVisitor(t)
		p.open(z.authorize(nil))
		id := ask[string](p, `document.querySelector("input[name=i]").value`)
		resp, err := http.PostForm(z.ZoneURL+"/login", url.Values{
			"i": {id}, "identifier": {"bob@example.com"}, "password": {"dev-only-bob-password"},
		})
		g.Expect(err).NotTo(HaveOccurred())
		defer resp.Body.Close()
		g.Expect(resp.StatusCode).To(Equal(400))
		g.Expect(resp.Cookies()).To(BeEmpty())
		p.signIn("carol")
		p.sees("asks for access")
	})
	t.Run("form from another site", func(t *testing.T) {
		p := newVisitor(t)
		p.open(z.authorize(nil))
		id := ask[string](p, `document.querySelector("input[name=i]").value`)
		p.open(z.AtlassianURL + "/healthz")
		ask[bool](p, `(() => { document.body.innerHTML = '<form method=post action="`+z.ZoneURL+`/login"><input name=i value="`+id+`"><button id=go></button></form>'; return true })()`)
		p.press("#go")
		p.sees("This form was sent from another site.")
	})
}
