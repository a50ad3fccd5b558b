// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"

	"github.com/keycardai/keycard-operator/devzone/store"
)

const headlessStep = "asking for consent"

// consent plays the person of a seeded consent: it opens the provider's
// authorize page, fills in its form as she would, and completes the flow with
// the code that comes back.
func (b *Broker) consent(ctx context.Context, q Query, c store.Consent) (Token, error) {
	state := store.NewSecret()
	start, err := b.AuthorizationURL(ctx, q, state)
	if err != nil {
		return Token{}, err
	}
	// The page of an account that is signed in already.
	start += "&" + url.Values{"login_hint": {c.Account}}.Encode()
	page, err := b.open(ctx, q, start)
	if err != nil {
		return Token{}, err
	}
	back := page.location
	if back == "" {
		if back, err = b.approve(ctx, q, c, start, page); err != nil {
			return Token{}, err
		}
	}
	code, err := b.returned(q, back, state)
	if err != nil {
		return Token{}, err
	}
	return b.Complete(ctx, q, code)
}

// visited is what a browser got: a page, or a redirect to follow.
type visited struct {
	document *html.Node
	location string
}

func (b *Broker) open(ctx context.Context, q Query, target string) (visited, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return visited{}, q.refused(0, "", "authorization_endpoint is no URL")
	}
	return b.browse(req, q)
}

func (b *Broker) browse(req *http.Request, q Query) (visited, error) {
	resp, err := b.Client.Do(req)
	if err != nil {
		return visited{}, q.refused(0, "", "")
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return visited{}, q.refused(0, "", "")
	}
	if location, err := resp.Location(); err == nil {
		return visited{location: location.String()}, nil
	}
	document, err := html.Parse(bytes.NewReader(body))
	if err != nil {
		return visited{}, q.refused(resp.StatusCode, "", "the page is not HTML")
	}
	if resp.StatusCode != http.StatusOK {
		message := ""
		for _, id := range []string{"error", "problem"} {
			if n := find(document, func(n *html.Node) bool { return attribute(n, "id") == id }); n != nil {
				message = strings.Join(strings.Fields(text(n)), " ")
			}
		}
		return visited{}, &UpstreamError{
			Provider: q.Provider.Identifier, Step: headlessStep,
			Status: resp.StatusCode, Detail: message, RetryAfter: resp.Header.Get("Retry-After"),
		}
	}
	return visited{document: document}, nil
}

// approve sends the page's form and returns where it leads.
func (b *Broker) approve(ctx context.Context, q Query, c store.Consent, base string, page visited) (string, error) {
	form := find(page.document, func(n *html.Node) bool { return n.Data == "form" })
	if form == nil {
		return "", q.refused(0, "", "its authorize page has no form")
	}
	from, err := url.Parse(base)
	if err != nil {
		return "", q.refused(0, "", "authorization_endpoint is no URL")
	}
	action, err := from.Parse(attribute(form, "action"))
	if err != nil {
		return "", q.refused(0, "", "the form of its authorize page leads nowhere")
	}
	body := strings.NewReader(fill(form, c).Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, action.String(), body)
	if err != nil {
		return "", q.refused(0, "", "the form of its authorize page leads nowhere")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	next, err := b.browse(req, q)
	if err == nil && next.location == "" {
		err = q.refused(0, "", "its authorize page did not redirect after the approval")
	}
	return next.location, err
}

// fill gives the values of the form with the person's choices: her account, the
// sites that she agreed to, and the approve button.
func fill(form *html.Node, c store.Consent) url.Values {
	v := url.Values{"decision": {"approve"}, "account": {c.Account}}
	for n := range form.Descendants() {
		if n.Type != html.ElementNode || n.Data != "input" {
			continue
		}
		name, value := attribute(n, "name"), attribute(n, "value")
		switch attribute(n, "type") {
		case "hidden":
			v.Set(name, value)
		case "checkbox":
			member := slices.Contains(strings.Fields(attribute(n, "data-members")), c.Account)
			if slices.Contains(c.Sites, attribute(n, "data-url")) || (len(c.Sites) == 0 && member) {
				v.Add(name, value)
			}
		}
	}
	return v
}

// returned takes the code from the redirect to the zone's redirect_uri.
func (b *Broker) returned(q Query, location, state string) (string, error) {
	u, err := url.Parse(location)
	if err != nil || !strings.HasPrefix(location, b.redirectURI(q)+"?") {
		return "", q.refused(0, "", "it redirected elsewhere than to the zone's redirect_uri")
	}
	v := u.Query()
	if v.Get("state") != state {
		return "", q.refused(0, "", "it returned another state")
	}
	if code := v.Get("error"); code != "" {
		return "", q.refused(http.StatusFound, errorCode(code), v.Get("error_description"))
	}
	return v.Get("code"), nil
}

func (q Query) refused(status int, code, detail string) *UpstreamError {
	return &UpstreamError{Provider: q.Provider.Identifier, Step: headlessStep, Status: status, Code: code, Detail: detail}
}

func find(root *html.Node, match func(*html.Node) bool) *html.Node {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && match(n) {
			return n
		}
	}
	return nil
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}
