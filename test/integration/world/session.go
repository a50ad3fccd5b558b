// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package world

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
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/seed"
	"github.com/keycardai/keycard-operator/test/must"
)

// Refused has the token endpoint refuse everything.
func (w *World) Refused(code, description string) (undo func()) {
	return w.Requests.Answer(Exchanges, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(rw, `{"error":%q,"error_description":%q}`, code, description)
	})
}

// ConsentRedirectURIs are those of a consent page.
var ConsentRedirectURIs = []string{"http://127.0.0.1/-/callback", "https://consent.example/-/callback"}

// Refuse answers as a token endpoint does.
func Refuse(code string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(rw, `{"error":%q}`, code)
	}
}

// RefuseAfterRefresh lets one refresh through, and refuses exchanges after that, until the returned function is called.
func (w *World) RefuseAfterRefresh() (undo func()) {
	w.Requests.Afterwards(func(what string) {
		if what == Exchanges { // the refresh
			w.Requests.Answer(Exchanges, Refuse("invalid_grant"))
		}
	})
	return func() {
		w.Requests.Afterwards(nil)
		w.Requests.Answer("", nil)() // nothing is answered any more
	}
}

const (
	landing = "http://127.0.0.1:8765/callback"
	// ownAPI is what the application itself serves: a token for it can be exchanged.
	ownAPI = "https://reports.example.com"
)

// SignsIn lets people sign in at the application of the default seed.
func SignsIn(c *devzone.Config) {
	c.Seed = seed.Default()
	c.Seed.Applications[0].RedirectURIs = []string{landing}
	c.Seed.Resources = append(c.Seed.Resources, seed.Resource{Identifier: ownAPI, Name: "Reports", Application: "reports"})
}

var interaction = regexp.MustCompile(`name="i" value="([^"]+)"`)

// SignIn goes through the zone's pages as alice, and gives the tokens of her session with the application.
func (w *World) SignIn() (tokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
},
) {
	w.T.Helper()
	jar, err := cookiejar.New(nil)
	must.Succeed(w.T, err)
	browser := &http.Client{Jar: jar}
	verifier := strings.Repeat("v", 43)
	challenge := sha256.Sum256([]byte(verifier))
	page, err := browser.Get(w.Zone.Issuer + "/oauth/2/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {"reports"}, "redirect_uri": {landing}, "state": {"s"}, "scope": {"openid"}, "resource": {ownAPI},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode())
	body := read(w.T, page, err)
	form := interaction.FindStringSubmatch(body)
	if form == nil {
		w.T.Fatalf("no form in %s", body)
	}
	page, err = browser.PostForm(w.Zone.Issuer+"/login", url.Values{"i": {form[1]}, "identifier": {User}, "password": {"dev-only-alice-password"}})
	body = read(w.T, page, err)
	// The zone sends the browser back by a page, so that its own policy on forms does not stop it.
	back := regexp.MustCompile(`url=(.+)`).FindStringSubmatch(page.Header.Get("Refresh"))
	if back == nil {
		w.T.Fatalf("she did not come back: %s %v %s", page.Status, page.Header, body)
	}
	landed, err := url.Parse(back[1])
	must.Succeed(w.T, err)
	req, err := http.NewRequestWithContext(w.Ctx, http.MethodPost, w.Zone.Issuer+"/oauth/2/token", strings.NewReader(url.Values{
		"grant_type": {"authorization_code"}, "code": {landed.Query().Get("code")}, "redirect_uri": {landing}, "code_verifier": {verifier},
	}.Encode()))
	must.Succeed(w.T, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("reports", ReportsSecret)
	page, err = http.DefaultClient.Do(req)
	body = read(w.T, page, err)
	must.Succeed(w.T, json.Unmarshal([]byte(body), &tokens))
	if tokens.RefreshToken == "" {
		w.T.Fatalf("no session in %s", body)
	}
	return tokens
}

// read gives the body of an answer.
func read(t *testing.T, answer *http.Response, err error) string {
	t.Helper()
	must.Succeed(t, err)
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	must.Succeed(t, err)
	return string(body)
}

// SessionSecret is where the session is kept; others is a key of somebody else.
func (w *World) SessionSecret() *corev1.Secret {
	w.T.Helper()
	var s corev1.Secret
	must.Succeed(w.T, w.K8s.Get(w.Ctx, types.NamespacedName{Namespace: w.NS, Name: "alice-session"}, &s))
	if string(s.Data["others"]) != "untouched" {
		w.T.Errorf("the Secret's other keys are %v", slices.Sorted(maps.Keys(s.Data)))
	}
	return &s
}

// Session makes a ready binding that keeps a session of alice.
func (w *World) Session() *v1alpha1.ConfluenceTokenBinding {
	w.T.Helper()
	must.Succeed(w.T, w.K8s.Create(w.Ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: "alice-session"},
		Data:       map[string][]byte{"refresh_token": []byte(w.SignIn().RefreshToken), "others": []byte("untouched")},
	}))
	install := w.Install()
	must.Succeed(w.T, w.K8s.Create(w.Ctx, install))
	w.ReconcileResource(install)
	b := w.Binding("reports")
	b.Spec.Subject = v1alpha1.Subject{RefreshTokenSecretRef: &v1alpha1.SecretKeyReference{Name: "alice-session", Key: "refresh_token"}}
	must.Succeed(w.T, w.K8s.Create(w.Ctx, b))
	w.ReconcileBinding(b)
	w.Expect(b, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	return b
}

// Due lets time pass until the token is to be refreshed.
func (w *World) Due(b *v1alpha1.ConfluenceTokenBinding) {
	w.Clock.SetTime(b.Status.RefreshAt.Add(time.Second))
}
