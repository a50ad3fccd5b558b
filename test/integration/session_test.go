// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/seed"
)

const (
	landing = "http://127.0.0.1:8765/callback"
	// ownAPI is what the application itself serves: a token for it can be exchanged.
	ownAPI = "https://reports.example.com"
)

// signsIn lets people sign in at the application of the default seed.
func signsIn(c *devzone.Config) {
	c.Seed = seed.Default()
	c.Seed.Applications[0].RedirectURIs = []string{landing}
	c.Seed.Resources = append(c.Seed.Resources, seed.Resource{Identifier: ownAPI, Name: "Reports", Application: "reports"})
}

var interaction = regexp.MustCompile(`name="i" value="([^"]+)"`)

// signIn goes through the zone's pages as alice, and gives the tokens of her session with the application.
func (w *world) signIn() (tokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
},
) {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	must(w.t, err)
	browser := &http.Client{Jar: jar}
	verifier := strings.Repeat("v", 43)
	challenge := sha256.Sum256([]byte(verifier))
	page, err := browser.Get(w.zone.Issuer + "/oauth/2/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {"reports"}, "redirect_uri": {landing}, "state": {"s"}, "scope": {"openid"}, "resource": {ownAPI},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode())
	body := read(w.t, page, err)
	form := interaction.FindStringSubmatch(body)
	if form == nil {
		w.t.Fatalf("no form in %s", body)
	}
	page, err = browser.PostForm(w.zone.Issuer+"/login", url.Values{"i": {form[1]}, "identifier": {user}, "password": {"dev-only-alice-password"}})
	body = read(w.t, page, err)
	// The zone sends the browser back by a page, so that its own policy on forms does not stop it.
	back := regexp.MustCompile(`url=(.+)`).FindStringSubmatch(page.Header.Get("Refresh"))
	if back == nil {
		w.t.Fatalf("she did not come back: %s %v %s", page.Status, page.Header, body)
	}
	landed, err := url.Parse(back[1])
	must(w.t, err)
	req, err := http.NewRequestWithContext(w.ctx, http.MethodPost, w.zone.Issuer+"/oauth/2/token", strings.NewReader(url.Values{
		"grant_type": {"authorization_code"}, "code": {landed.Query().Get("code")}, "redirect_uri": {landing}, "code_verifier": {verifier},
	}.Encode()))
	must(w.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("reports", reportsSecret)
	page, err = http.DefaultClient.Do(req)
	body = read(w.t, page, err)
	must(w.t, json.Unmarshal([]byte(body), &tokens))
	if tokens.RefreshToken == "" {
		w.t.Fatalf("no session in %s", body)
	}
	return tokens
}

// read gives the body of an answer.
func read(t *testing.T, answer *http.Response, err error) string {
	t.Helper()
	must(t, err)
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	must(t, err)
	return string(body)
}

// sessionSecret is where the session is kept; others is a key of somebody else.
func (w *world) sessionSecret() *corev1.Secret {
	w.t.Helper()
	var s corev1.Secret
	must(w.t, w.k8s.Get(w.ctx, types.NamespacedName{Namespace: w.ns, Name: "alice-session"}, &s))
	if string(s.Data["others"]) != "untouched" {
		w.t.Errorf("the Secret's other keys are %v", slices.Sorted(maps.Keys(s.Data)))
	}
	return &s
}

// session makes a ready binding that keeps a session of alice.
func (w *world) session() *v1alpha1.ConfluenceTokenBinding {
	w.t.Helper()
	must(w.t, w.k8s.Create(w.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "alice-session"},
		Data:       map[string][]byte{"refresh_token": []byte(w.signIn().RefreshToken), "others": []byte("untouched")},
	}))
	install := w.install()
	must(w.t, w.k8s.Create(w.ctx, install))
	w.reconcileResource(install)
	b := w.binding("reports")
	b.Spec.Subject = v1alpha1.Subject{RefreshTokenSecretRef: &v1alpha1.SecretKeyReference{Name: "alice-session", Key: "refresh_token"}}
	must(w.t, w.k8s.Create(w.ctx, b))
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	return b
}

// due lets time pass until the token is to be refreshed.
func (w *world) due(b *v1alpha1.ConfluenceTokenBinding) {
	w.clock.SetTime(b.Status.RefreshAt.Add(time.Second))
}

// The operator keeps a person's session: each use of the refresh token gives another, which is in the Secret before
// anything else is done.
func TestSession(t *testing.T) {
	w := newWorld(t, signsIn)
	b := w.session()
	w.pages(w.output(b))
	first := string(w.sessionSecret().Data["refresh_token"])

	w.requests.take()
	w.reconcileBinding(b)
	if seen := w.requests.take(); len(seen) != 0 {
		t.Errorf("its own write made the operator ask %v", seen)
	}
	w.connect() // a restart costs nothing either
	w.reconcileBinding(b)
	if seen := w.requests.take(); len(seen) != 0 {
		t.Errorf("a restart made the operator ask %v", seen)
	}

	w.due(b)
	issued := b.Status.IssuedAt
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if b.Status.IssuedAt.Equal(issued) {
		t.Error("the token is not refreshed")
	}
	if string(w.sessionSecret().Data["refresh_token"]) == first {
		t.Error("the used refresh token is still in the Secret")
	}

	// Another session is taken up at once.
	s := w.sessionSecret()
	s.Data["refresh_token"] = []byte(w.signIn().RefreshToken)
	must(t, w.k8s.Update(w.ctx, s))
	w.requests.take()
	w.reconcileBinding(b)
	if w.requests.count("zone POST /oauth/2/token") != 2 {
		t.Errorf("another session made the operator ask %v", w.requests.take())
	}

	// One that is over needs the person, and recovers with a new one.
	s = w.sessionSecret()
	s.Data["refresh_token"] = []byte(first)
	must(t, w.k8s.Update(w.ctx, s))
	w.reconcileBinding(b)
	w.due(b)
	w.clock.Step(time.Hour)
	w.reconcileBinding(b)
	message := w.expect(b, v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonSessionEnded)
	if !strings.Contains(message, "key refresh_token of Secret "+w.ns+"/alice-session") || strings.Contains(message, first) {
		t.Errorf("the remedy is %q", message)
	}
	s = w.sessionSecret()
	s.Data["refresh_token"] = []byte(w.signIn().RefreshToken)
	must(t, w.k8s.Update(w.ctx, s))
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if strings.Contains(w.logs.String(), string(w.sessionSecret().Data["refresh_token"])) {
		t.Error("a refresh token is in the log")
	}
}

// A process that is killed at any of its requests, before it is served or before the answer arrives, leaves a session that
// its successor goes on with: at the first token of a binding and at a refresh. Only between the zone's answer and the write of
// the Secret nothing can be saved, and then the condition says what to do.
func TestSessionSurvivesKills(t *testing.T) {
	for name, next := range map[string]func(*world, *v1alpha1.ConfluenceTokenBinding, int) *v1alpha1.ConfluenceTokenBinding{
		"a refresh": func(w *world, b *v1alpha1.ConfluenceTokenBinding, _ int) *v1alpha1.ConfluenceTokenBinding {
			w.due(b)
			return b
		},
		"the first token": func(w *world, b *v1alpha1.ConfluenceTokenBinding, n int) *v1alpha1.ConfluenceTokenBinding {
			first := w.binding(fmt.Sprintf("first-%d", n))
			first.Spec.Subject = b.Spec.Subject
			must(w.t, w.k8s.Create(w.ctx, first))
			return first
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, signsIn)
			b := w.session()
			lives := 0
			lostAt := w.killEverywhere(func() *v1alpha1.ConfluenceTokenBinding {
				lives++
				return next(w, b, lives)
			})
			const patch = "cluster PATCH /api/v1/namespaces/NS/secrets/alice-session?fieldManager=keycard-operator-session"
			want := map[string]int{"zone POST /oauth/2/token served=true": 1, patch + " served=false": 1}
			if !maps.Equal(lostAt, want) {
				t.Errorf("the session was lost by kills at %v", lostAt)
			}
			t.Logf("%d lives", lives)
		})
	}
}

// killEverywhere kills one process after the other, each a request later than the one before, while it is at the binding that
// next gives; and tells by which kills the session was lost.
func (w *world) killEverywhere(next func() *v1alpha1.ConfluenceTokenBinding) (lostAt map[string]int) {
	w.t.Helper()
	var mu sync.Mutex
	lostAt = map[string]int{}
	steps := 0
	for at := 1; at == steps+1; at++ {
		for _, served := range []bool{false, true} {
			var seen []string
			die := func(what string) (dropped, lost bool) {
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, what)
				return len(seen) > at || len(seen) == at && !served, len(seen) == at
			}
			w.connect()
			b := next()
			w.requests.dying, w.writes.dying = die, die
			_, _ = w.bindings.Reconcile(w.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b)})
			w.requests.dying, w.writes.dying = nil, nil
			if len(seen) < at {
				break // the life had fewer requests
			}
			steps = at
			w.connect()
			w.reconcileBinding(b)
			if meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionTokenIssued).Reason != v1alpha1.ReasonIssued {
				lostAt[fmt.Sprintf("%s served=%v", strings.ReplaceAll(seen[at-1], w.ns, "NS"), served)]++
				s := w.sessionSecret()
				s.Data["refresh_token"] = []byte(w.signIn().RefreshToken)
				must(w.t, w.k8s.Update(w.ctx, s))
				w.reconcileBinding(b)
			}
			w.expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		}
	}
	return lostAt
}

// Two bindings share a session: they use it in turns, so that neither spends the refresh token of the other, and the session
// outlives the one that goes.
func TestSessionOfTwoBindings(t *testing.T) {
	w := newWorld(t, signsIn)
	b := w.session()
	other := w.binding("other")
	other.Spec.Subject = b.Spec.Subject
	must(t, w.k8s.Create(w.ctx, other))
	w.reconcileBinding(other)
	for range 3 {
		w.due(b)
		if b.Status.RefreshAt.Before(other.Status.RefreshAt) {
			w.due(other)
		}
		w.requests.take()
		var both sync.WaitGroup
		for _, binding := range []*v1alpha1.ConfluenceTokenBinding{b, other} {
			both.Go(func() {
				_, _ = w.bindings.Reconcile(w.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(binding)})
			})
		}
		both.Wait()
		for _, binding := range []*v1alpha1.ConfluenceTokenBinding{b, other} {
			w.reconcileBinding(binding)
			w.expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			w.expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
		}
		// Two exchanges, and one refresh whose access token serves both.
		if n := w.requests.count("zone POST /oauth/2/token"); n < 2 || n > 3 {
			t.Errorf("the zone was asked %d times", n)
		}
	}
	must(t, w.k8s.Delete(w.ctx, other))
	w.reconcileBinding(other)
	w.due(b)
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)

	// The operator's write for one is no reason for the other to do anything.
	again := w.binding("again")
	again.Spec.Subject = b.Spec.Subject
	must(t, w.k8s.Create(w.ctx, again))
	w.reconcileBinding(again)
	w.requests.take()
	for range 2 {
		w.reconcileBinding(b)
		w.reconcileBinding(again)
	}
	if seen := w.requests.take(); len(seen) != 0 {
		t.Errorf("the bindings' own writes made the operator ask %v", seen)
	}
}

// A refresh token that could not be replaced is not spent.
func TestSessionIsNotSpentInVain(t *testing.T) {
	w := newWorld(t, signsIn)
	b := w.session()
	s := w.sessionSecret()
	s.Immutable = new(true)
	must(t, w.k8s.Update(w.ctx, s))
	w.connect() // the session's token, which is remembered, would do
	w.due(b)
	w.requests.take()
	w.reconcileBinding(b)
	if n := w.requests.count("zone POST /oauth/2/token"); n != 0 {
		t.Errorf("the zone was asked %d times", n)
	}
	message := w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)
	if !strings.Contains(message, "remove immutable from it") {
		t.Errorf("the remedy is %q", message)
	}
	must(t, w.k8s.Delete(w.ctx, s))
	s.ObjectMeta = metav1.ObjectMeta{Namespace: w.ns, Name: "alice-session"}
	s.Immutable = nil
	must(t, client.IgnoreAlreadyExists(w.k8s.Create(w.ctx, s)))
	w.reconcileBinding(b)
	w.expect(b, v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonIssued)
}
