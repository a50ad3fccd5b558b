// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/signin"
	"github.com/keycardai/keycard-operator/devzone/store"
)

func TestJourney(t *testing.T) {
	g := NewWithT(t)
	s := newSite(t)
	b := s.browser()
	page := b.authorize(url.Values{"resource": {own}, "nonce": {"n-1"}, "login_hint": {"alice@example.com"}})
	g.Expect(page.Status).To(Equal(200))
	g.Expect(page.Body).To(And(ContainSubstring("to continue to <strong>Application app</strong>"), ContainSubstring(`value="alice@example.com"`)))
	page = b.signIn(page, "alice")
	for _, text := range []string{
		"Application app asks for access", "alice@example.com", "Own API", "Confluence", "Read pages in Confluence", "Keep the access while you are away",
		"You will be sent to Atlassian to agree there, too.", "Know your e-mail address",
	} {
		g.Expect(page.Body).To(ContainSubstring(text))
	}
	leaving := b.decide(page, "approve")
	g.Expect(leaving.Status).To(Equal(200), "after a form a page leads away")
	g.Expect(leaving.Body).To(ContainSubstring("You are being sent to <strong>auth.atlassian.com</strong>"))
	back := b.agree(leaving, "alice")
	g.Expect(back.Status).To(Equal(303))
	code := s.code(back)
	alice := s.user("alice")
	g.Expect(code).To(And(
		HaveField("ClientID", "app"), HaveField("UserID", alice.ID), HaveField("RedirectURI", application), HaveField("Challenge", challenge),
		HaveField("Scopes", []string{"openid", "email"}), HaveField("Resources", []string{own}), HaveField("Nonce", "n-1"),
		HaveField("ExpiresAt", s.Now().Add(time.Minute))))
	g.Expect(s.store.View(func(tx *store.Tx) error {
		session, live := tx.LiveSession("zn-demo", code.SessionID, s.Now())
		g.Expect(live).To(BeTrue())
		g.Expect(session.ExpiresAt).To(Equal(s.Now().Add(8 * time.Hour)))
		g.Expect(tx.Grants.All("zn-demo", nil)).To(ConsistOf(And(HaveField("UserID", alice.ID), HaveField("Status", store.GrantActive))))
		g.Expect(tx.Interactions.All("zn-demo", nil)).To(BeEmpty())
		return nil
	})).To(Succeed())
	g.Expect(s.observed()).To(HaveExactElements(
		signin.Outcome{Kind: "sign-in", Zone: "zn-demo", User: "alice@example.com", Application: "app", Session: code.SessionID},
		signin.Outcome{Kind: "consent", Zone: "zn-demo", User: "alice@example.com", Application: "app", Scopes: []string{"openid", "email"}, Session: code.SessionID},
		And(HaveField("Kind", "connection"), HaveField("Resource", confluence), HaveField("Scopes", ContainElement("read:page:confluence")), HaveField("Refusal", "")),
	))
	t.Run("nothing is asked twice", func(t *testing.T) {
		g := s.in(t)
		again := b.authorize(url.Values{"resource": {own}, "prompt": {"none"}})
		g.Expect(s.code(again).SessionID).To(Equal(code.SessionID))
	})
	t.Run("but more scopes are", func(t *testing.T) {
		g := s.in(t)
		g.Expect(b.authorize(url.Values{"scope": {"openid profile"}}).Body).To(ContainSubstring("Know your name"))
		s.expectError(b.authorize(url.Values{"scope": {"openid profile"}, "prompt": {"none"}}), "consent_required", "the person has not consented")
	})
	t.Run("and prompt=consent", func(t *testing.T) {
		g := s.in(t)
		page := b.authorize(url.Values{"prompt": {"consent"}})
		g.Expect(page.Body).To(ContainSubstring("You have agreed at Atlassian before."))
		s.code(b.decide(page, "approve"))
	})
	t.Run("a resource that is named is connected anew", func(t *testing.T) {
		s.in(t)
		s.expectError(b.authorize(url.Values{"resource": {confluence}, "prompt": {"none"}}), "interaction_required", "the person has to connect an account")
		s.code(b.agree(b.authorize(url.Values{"resource": {confluence}}), "alice"))
	})
	t.Run("a revoked grant is missing again", func(t *testing.T) {
		g := s.in(t)
		g.Expect(s.store.Do(func(tx *store.Tx) error {
			grant := tx.Grants.All("zn-demo", nil)[0]
			grant.Status = store.GrantRevoked
			_, err := tx.Grants.Replace(grant)
			return err
		})).To(Succeed())
		s.code(b.agree(b.authorize(nil), "alice"))
	})
	t.Run("prompt=login", func(t *testing.T) {
		g := s.in(t)
		page := b.authorize(url.Values{"prompt": {"login"}})
		g.Expect(page.Body).To(ContainSubstring("Password"))
		fresh := s.code(b.signIn(page, "alice"))
		g.Expect(fresh.SessionID).NotTo(Equal(code.SessionID))
		g.Expect(s.store.View(func(tx *store.Tx) error {
			_, live := tx.LiveSession("zn-demo", code.SessionID, s.Now())
			g.Expect(live).To(BeFalse(), "the browser has one session")
			return nil
		})).To(Succeed())
	})
	t.Run("eight hours later", func(t *testing.T) {
		g := s.in(t)
		s.Advance(8 * time.Hour)
		g.Expect(b.authorize(nil).Body).To(ContainSubstring("Password"))
	})
}

func TestImplicitConsent(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	s.code(b.signIn(b.authorize(url.Values{"client_id": {"trusted"}}), "bob"))
}

func TestWindowToClose(t *testing.T) {
	g := NewWithT(t)
	s := newSite(t)
	b := s.browser()
	bare := url.Values{"client_id": {"bare"}, "redirect_uri": nil}
	done := b.agree(b.decide(b.signIn(b.authorize(bare), "bob"), "approve"), "bob")
	g.Expect(done.Status).To(Equal(200))
	g.Expect(done.Body).To(And(ContainSubstring("You are connected"), ContainSubstring("You can close this window.")))
	g.Expect(s.store.View(func(tx *store.Tx) error {
		g.Expect(tx.Codes.All("zn-demo", nil)).To(BeEmpty())
		return nil
	})).To(Succeed())
	bare.Set("response_type", "token")
	g.Expect(b.authorize(bare)).To(And(HaveField("Status", 400), HaveField("Body", ContainSubstring("response_type must be code"))))
}

func TestDenials(t *testing.T) {
	g := NewWithT(t)
	s := newSite(t)
	b := s.browser()
	page := b.signIn(b.authorize(nil), "bob")
	s.expectError(b.decide(page, "deny"), "access_denied", "The person declined.")
	g.Expect(s.observed()).To(ContainElement(And(HaveField("Kind", "consent"), HaveField("Refusal", "the person declined"))))
	leaving := b.decide(b.authorize(nil), "approve")
	state := url.QueryEscape(leaving.To.Query().Get("state"))
	s.expectError(b.do(http.MethodGet, "/oauth/2/redirect?error=access_denied&error_description=No+thanks&state="+state, nil), "access_denied", "Confluence: No thanks")
	leaving = b.authorize(nil)
	state = url.QueryEscape(leaving.To.Query().Get("state"))
	s.expectError(b.do(http.MethodGet, "/oauth/2/redirect?error=temporarily_unavailable&state="+state, nil), "server_error", "Confluence: The provider refused.")
	leaving = b.authorize(nil)
	state = url.QueryEscape(leaving.To.Query().Get("state"))
	s.expectError(b.do(http.MethodGet, "/oauth/2/redirect?code=guess&state="+state, nil), "server_error", "Confluence: ")
	g.Expect(s.store.View(func(tx *store.Tx) error {
		g.Expect(tx.Grants.All("zn-demo", nil)).To(BeEmpty())
		return nil
	})).To(Succeed())
}

const lost = "This page has expired, was used already, or was opened in another browser."

// What one person agreed to in a browser is not agreed to by the next one.
func TestTwoPeopleInOneBrowser(t *testing.T) {
	g := NewWithT(t)
	s := newSite(t)
	b := s.browser()
	leaving := b.decide(b.signIn(b.authorize(nil), "alice"), "approve")
	back := b.agreed(leaving, "alice")
	// In another tab Bob signs in.
	page := b.signIn(b.authorize(url.Values{"prompt": {"login"}}), "bob")
	g.Expect(page.Body).To(ContainSubstring("bob@example.com"))
	got := b.do(http.MethodGet, back, nil)
	g.Expect(got).To(And(HaveField("Status", 400), HaveField("Body", ContainSubstring(lost))))
	// Alice's tab asks Bob.
	id := leaving.To.Query().Get("state")[:26]
	got = b.do(http.MethodGet, "/login/continue?i="+id, nil)
	g.Expect(got.Body).To(And(ContainSubstring("asks for access"), ContainSubstring("bob@example.com")))
	g.Expect(s.store.View(func(tx *store.Tx) error {
		g.Expect(tx.Grants.All("zn-demo", nil)).To(BeEmpty())
		return nil
	})).To(Succeed())
}

// Several resources are connected one after the other.
func TestTwoResources(t *testing.T) {
	g := NewWithT(t)
	s := newSite(t)
	b := s.browser()
	page := b.signIn(b.authorize(url.Values{"client_id": {"two"}, "resource": {confluence, jira}}), "alice")
	first := b.decide(page, "approve")
	g.Expect(first.To.Query().Get("scope")).To(ContainSubstring("read:page:confluence"))
	back := b.agreed(first, "alice")
	onward := b.once(http.MethodGet, back, nil)
	g.Expect(b.once(http.MethodGet, back, nil).Body).To(ContainSubstring(lost), "a state is used once")
	second := b.do(http.MethodGet, onward.To.String(), nil)
	g.Expect(second.To.Query().Get("scope")).To(ContainSubstring("read:space:confluence"))

	// Bob, who goes on with it, connects accounts of his own.
	b.signIn(b.authorize(url.Values{"prompt": {"login"}}), "bob")
	id, _, _ := strings.Cut(first.To.Query().Get("state"), ".")
	first = b.decide(b.do(http.MethodGet, "/login/continue?i="+id, nil), "approve")
	g.Expect(first.To.Query().Get("scope")).To(ContainSubstring("read:page:confluence"))
	second = b.agree(first, "bob")
	g.Expect(second.To.Query().Get("scope")).To(ContainSubstring("read:space:confluence"))
	code := s.code(b.agree(second, "bob"))
	g.Expect(code.UserID).To(Equal(s.user("bob").ID))
	g.Expect(code.Resources).To(Equal([]string{confluence, jira}))
	g.Expect(s.store.View(func(tx *store.Tx) error {
		g.Expect(tx.Grants.All("zn-demo", func(grant store.Grant) bool { return grant.UserID == code.UserID })).To(HaveLen(2))
		return nil
	})).To(Succeed())
}

func TestAnotherAccount(t *testing.T) {
	g := NewWithT(t)
	s := newSite(t)
	b := s.browser()
	page := b.signIn(b.authorize(url.Values{"login_hint": {"alice@example.com"}}), "alice")
	page = b.decide(page, "switch")
	g.Expect(page.Body).To(And(ContainSubstring("Password"), Not(ContainSubstring("alice@example.com"))))
	page = b.signIn(page, "bob")
	g.Expect(page.Body).To(ContainSubstring("bob@example.com"))
	g.Expect(s.code(b.agree(b.decide(page, "approve"), "bob")).UserID).To(Equal(s.user("bob").ID))
}

// Tabs that finish at the same time get one code.
func TestOneCode(t *testing.T) {
	g := NewWithT(t)
	s := newSite(t)
	b := s.browser()
	for range 50 {
		page := b.once(http.MethodGet, "/oauth/2/authorize?"+query(url.Values{"client_id": {"trusted"}, "prompt": {"login"}}).Encode(), nil)
		id := page.To.Query().Get("i")
		signedIn := b.once(http.MethodPost, "/login", url.Values{"i": {id}, "identifier": {"bob@example.com"}, "password": {"dev-only-bob-password"}})
		g.Expect(signedIn.To.String()).To(Equal("/login/continue?form=1&i=" + id))
		var tabs sync.WaitGroup
		var codes atomic.Int32
		start := make(chan struct{})
		for range 4 {
			tab := s.browser()
			maps.Copy(tab.cookies, b.cookies)
			tabs.Go(func() {
				<-start
				if got := tab.once(http.MethodGet, "/login/continue?i="+id, nil); got.To != nil && got.To.Query().Has("code") {
					codes.Add(1)
				}
			})
		}
		close(start)
		tabs.Wait()
		g.Expect(codes.Load()).To(BeEquivalentTo(1))
	}
}

func TestLogout(t *testing.T) {
	g := NewWithT(t)
	s := newSite(t)
	b := s.browser()
	g.Expect(b.once(http.MethodGet, "/logout", nil).Body).To(ContainSubstring("Nobody is signed in."))
	b.signIn(b.authorize(nil), "bob")
	before := b.cookies["__Host-devzone_session"]
	g.Expect(before).NotTo(BeEmpty())
	g.Expect(b.once(http.MethodGet, "/logout", nil).Body).To(ContainSubstring("bob@example.com"))
	got := b.once(http.MethodPost, "/logout", nil)
	g.Expect(got.Body).To(ContainSubstring("You are signed out"))
	g.Expect(b.cookies).NotTo(HaveKey("__Host-devzone_session"))
	b.cookies["__Host-devzone_session"] = before
	g.Expect(b.authorize(nil).Body).To(ContainSubstring("Password"), "the cookie alone is of no use")
	g.Expect(b.once(http.MethodPost, "/logout", nil).Status).To(Equal(200), "twice does no harm")
}
