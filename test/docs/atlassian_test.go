// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keycardai/keycard-operator/devzone/atlassian"
	"github.com/keycardai/keycard-operator/internal/redacted"
	"github.com/keycardai/keycard-operator/internal/tokenfile"
)

// The sites: a token works at the first one, is refused by the second one's policy, and is not for the third one.
const (
	openSite    = "aaaaaaaa-0000-4000-8000-000000000001"
	blockedSite = "bbbbbbbb-0000-4000-8000-000000000002"
	otherSite   = "cccccccc-0000-4000-8000-000000000003"
)

const (
	alice    = "alice@example.com"
	callback = "https://zone.example.com/oauth/2/redirect"
)

// world is the stand-in for Atlassian behind a gateway that notes what is asked, and a folder as the kubelet mounts it.
type world struct {
	t       *testing.T
	standIn *atlassian.Server
	gateway *httptest.Server
	mount   *mount
	tokens  []string

	// The gateway and the test take turns, but the race detector does not see that: programs are between them.
	mu       sync.Mutex
	now      time.Time
	statuses []int
	redirect string
	rotate   map[string][]byte
}

// newWorld starts one that answers so many requests only, if that is not 0.
func newWorld(t *testing.T, quota int) *world {
	t.Helper()
	data := atlassian.Data{
		Apps:  []atlassian.App{{Name: "App", ClientID: "app", ClientSecret: "secret", Callback: callback, Scopes: []string{"read:page:confluence"}}},
		Users: []atlassian.User{{AccountID: "alice", Email: alice, Name: "Alice"}},
		Sites: []atlassian.Site{
			{CloudID: openSite, URL: "https://open.atlassian.net", Name: "open", Members: []string{alice}, Spaces: []atlassian.Space{
				{ID: "1", Key: "TEAM", Name: "Team", Pages: []atlassian.Page{{ID: "11", Title: "Roadmap"}, {ID: "12", Title: "Minutes of May"}}},
			}},
			{CloudID: blockedSite, URL: "https://blocked.atlassian.net", Name: "blocked", Members: []string{alice}, BlockedApps: []string{"app"}},
			{CloudID: otherSite, URL: "https://other.atlassian.net", Name: "other", Members: []string{alice}},
		},
	}
	if quota > 0 {
		data.RateLimit = &atlassian.RateLimit{Requests: quota, Seconds: 3600}
	}
	w := &world{t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), mount: &mount{t: t, dir: t.TempDir()}}
	standIn, err := atlassian.New(atlassian.Config{Data: data, Clock: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	w.standIn = standIn
	web := httptest.NewServer(standIn)
	t.Cleanup(web.Close)
	upstream, err := url.Parse(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	w.gateway = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(upstream) },
		ModifyResponse: w.pass,
	})
	t.Cleanup(w.gateway.Close)
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// show puts files into the folder.
func (w *world) show(files map[string][]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mount.put(files)
}

// showAfterRefusal puts files into the folder when a request is refused, once.
func (w *world) showAfterRefusal(files map[string][]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rotate = files
}

// redirectTo makes every answer lead to another address.
func (w *world) redirectTo(target string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.redirect = target
}

// pass lets an answer through. The folder has changed before a client sees the first refusal.
func (w *world) pass(answer *http.Response) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.redirect != "" {
		answer.StatusCode = http.StatusFound
		answer.Header.Set("Location", w.redirect)
	}
	w.statuses = append(w.statuses, answer.StatusCode)
	if answer.StatusCode >= http.StatusBadRequest && w.rotate != nil {
		w.mount.put(w.rotate)
		w.rotate = nil
	}
	return nil
}

// expectRequests checks how the requests were answered.
func (w *world) expectRequests(statuses ...int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.statuses, statuses) {
		w.t.Errorf("requests were answered with %v, not with %v", w.statuses, statuses)
	}
}

var transaction = regexp.MustCompile(`name="transaction" value="([^"]+)"`)

// login takes Alice through Atlassian's consent screen, where she picks two of her sites, and gives the token.
func (w *world) login() string {
	w.t.Helper()
	page := w.ask("GET", "/authorize?"+url.Values{
		"audience": {"api.atlassian.com"}, "client_id": {"app"}, "scope": {"read:page:confluence"}, "redirect_uri": {callback},
		"state": {"state"}, "response_type": {"code"}, "prompt": {"consent"},
	}.Encode(), "", http.StatusOK)
	decision := w.ask("POST", "/authorize", url.Values{
		"transaction": {transaction.FindStringSubmatch(page.Body.String())[1]}, "account": {alice},
		"site": {openSite, blockedSite}, "decision": {"approve"},
	}.Encode(), http.StatusFound)
	back, err := url.Parse(decision.Header().Get("Location"))
	if err != nil {
		w.t.Fatal(err)
	}
	answer := w.ask("POST", "/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {callback},
		"client_id": {"app"}, "client_secret": {"secret"},
	}.Encode(), http.StatusOK)
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &token); err != nil {
		w.t.Fatal(err)
	}
	w.tokens = append(w.tokens, token.AccessToken)
	return token.AccessToken
}

// expired is a token whose time is over.
func (w *world) expired() string {
	w.t.Helper()
	token := w.login()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(atlassian.DefaultTokenLifetime)
	return token
}

func (w *world) ask(method, path, form string, status int) *httptest.ResponseRecorder {
	w.t.Helper()
	request := httptest.NewRequestWithContext(w.t.Context(), method, path, strings.NewReader(form))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer := httptest.NewRecorder()
	w.standIn.ServeHTTP(answer, request)
	if answer.Code != status {
		w.t.Fatalf("%s %s: %d %s", method, path, answer.Code, answer.Body)
	}
	return answer
}

// files is what the operator writes for a token.
func (w *world) files(token, cloudID string) map[string][]byte {
	w.t.Helper()
	now := w.clock()
	data, err := tokenfile.Render(tokenfile.Token{
		AccessToken: redacted.New(token), IssuedAt: now, ExpiresAt: now.Add(atlassian.DefaultTokenLifetime),
		Scopes: []string{"read:page:confluence"}, Resource: "https://api.atlassian.com/ex/confluence",
		SiteURL: "https://open.atlassian.net", CloudID: cloudID, BaseURL: w.gateway.URL + "/ex/confluence/" + cloudID,
	}, []tokenfile.Format{tokenfile.Header, tokenfile.Curl, tokenfile.Env, tokenfile.Properties})
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

// mount is a folder in which the kubelet shows a Secret.
type mount struct {
	t     *testing.T
	dir   string
	shown int
}

// put shows other files as the kubelet does: they are written into a new folder, the link ..data is moved to it in one
// step, and the old folder goes.
func (m *mount) put(files map[string][]byte) {
	m.shown++
	name := fmt.Sprintf("..2026_03_01_12_00_%02d.123456789", m.shown)
	errs := []error{os.Mkdir(filepath.Join(m.dir, name), 0o700)}
	for file, content := range files {
		errs = append(errs, os.WriteFile(filepath.Join(m.dir, name, file), content, 0o600))
	}
	data := filepath.Join(m.dir, "..data")
	old, _ := os.Readlink(data) // there is none at first
	errs = append(errs, os.Symlink(name, data+"_tmp"), os.Rename(data+"_tmp", data))
	if old != "" {
		errs = append(errs, os.RemoveAll(filepath.Join(m.dir, old)))
	} else {
		for file := range files {
			errs = append(errs, os.Symlink(filepath.Join("..data", file), filepath.Join(m.dir, file)))
		}
	}
	for _, err := range errs {
		if err != nil {
			m.t.Error(err)
		}
	}
}
