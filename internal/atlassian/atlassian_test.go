// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/keycardai/keycard-operator/internal/atlassian"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/redacted"
)

func TestChoose(t *testing.T) {
	site := func(id, url string, scopes ...string) atlassian.Site {
		return atlassian.Site{CloudID: id, URL: url, Scopes: scopes}
	}
	const read = "read:confluence-content.all"
	acme, other := site("1", "https://acme.atlassian.net", read), site("2", "https://other.atlassian.net", "read:page:confluence")
	jira := site("1", "https://acme.atlassian.net", "read:jira-work")
	tests := map[string]struct {
		sites  []atlassian.Site
		wanted string
		want   string
		err    error
	}{
		"none":                       {nil, "", "", atlassian.NoSiteError{}},
		"none of Confluence":         {[]atlassian.Site{jira}, "", "", atlassian.NoSiteError{}},
		"the only one":               {[]atlassian.Site{acme}, "", "1", nil},
		"once for each product":      {[]atlassian.Site{jira, acme, acme}, "", "1", nil},
		"several":                    {[]atlassian.Site{other, acme}, "", "", atlassian.AmbiguousError{}},
		"several, one is wanted":     {[]atlassian.Site{acme, other}, "https://other.atlassian.net", "2", nil},
		"wanted with a slash":        {[]atlassian.Site{acme, other}, "https://ACME.atlassian.net/", "1", nil},
		"another is wanted":          {[]atlassian.Site{acme}, "https://else.atlassian.net", "", atlassian.NotAccessibleError{}},
		"another is wanted, no site": {nil, "https://else.atlassian.net", "", atlassian.NoSiteError{}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := atlassian.Choose(tc.sites, tc.wanted)
			if fmt.Sprintf("%T", err) != fmt.Sprintf("%T", tc.err) || got.CloudID != tc.want {
				t.Errorf("chose %q, %v", got.CloudID, err)
			}
		})
	}
}

func TestSites(t *testing.T) {
	var answer string
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/oauth/token/accessible-resources" || r.Header.Get("Authorization") != "Bearer canary" {
			t.Errorf("asked %s with %q", r.URL.Path, r.Header.Get("Authorization"))
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, answer)
	}))
	defer server.Close()
	client := atlassian.NewClient(keycard.NewPool(keycard.Options{AllowInsecureLoopback: true}), server.URL+"/")

	answer = `[{"id":"ok-1","url":"https://a.atlassian.net/","name":"a","scopes":["x"]},
		{"id":"../evil","url":"https://b.atlassian.net"},{"id":"","url":"https://c.atlassian.net"},
		{"id":"ok-2","url":"http://d.atlassian.net"},{"id":"ok-3","url":"https://e.atlassian.net/\u0007"}]`
	sites, err := client.Sites(t.Context(), redacted.New("canary"))
	if err != nil || len(sites) != 1 || sites[0].CloudID != "ok-1" || sites[0].URL != "https://a.atlassian.net" {
		t.Errorf("got %+v, %v", sites, err)
	}
	if got := client.ConfluenceURL("ok-1"); got != server.URL+"/ex/confluence/ok-1" {
		t.Errorf("Confluence is at %s", got)
	}
	for code, class := range map[int]keycard.Class{401: keycard.Misconfigured, 500: keycard.Transient, 429: keycard.Throttled} {
		status, answer = code, `{"code":0,"message":"canary"}`
		_, err := client.Sites(t.Context(), redacted.New("canary"))
		if keycard.ClassOf(err) != class {
			t.Errorf("HTTP %d is %s, want %s", code, keycard.ClassOf(err), class)
		}
	}
}

// list answers with a fixed document.
type list []byte

func (l list) GetJSON(_ context.Context, _, _ string, _ redacted.String, out any) error {
	return json.Unmarshal(l, out)
}

func FuzzSites(f *testing.F) {
	f.Add([]byte(`[{"id":"1","url":"https://a.atlassian.net","scopes":["search:confluence"]}]`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		client := atlassian.NewClient(list(raw), atlassian.DefaultURL)
		sites, err := client.Sites(t.Context(), redacted.New("x"))
		if err != nil {
			return
		}
		site, err := atlassian.Choose(sites, "")
		var none atlassian.NoSiteError
		if err == nil && site.CloudID == "" || errors.As(err, &none) && site.CloudID != "" {
			t.Errorf("chose %+v, %v", site, err)
		}
	})
}
