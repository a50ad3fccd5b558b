// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package person

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"github.com/andybalholm/cascadia"
	"golang.org/x/net/html"
)

// The bounds of what a plain browser reads and follows.
const (
	maxPage      = 1 << 20
	maxRefreshes = 5
)

// Plain is a browser without a screen: it reads pages, keeps cookies, fills in forms and sends them.
type Plain struct {
	ctx    context.Context //nolint:containedctx // the life of the browser, as with a real one
	client *http.Client
	at     *url.URL
	page   *html.Node
}

var _ Browser = (*Plain)(nil)

// NewPlain makes one, which works as long as the context.
func NewPlain(ctx context.Context) (*Plain, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, fmt.Errorf("making a cookie jar: %w", err)
	}
	return &Plain{ctx: ctx, client: &http.Client{Jar: jar, Timeout: patience}}, nil
}

// Open goes to an address.
func (p *Plain) Open(address string) error { return p.visit(http.MethodGet, address, nil) }

// visit sends a request and reads the page that comes back, after the redirects of the protocol and of pages.
func (p *Plain) visit(method, address string, form url.Values) error {
	for range maxRefreshes {
		next, err := p.load(method, address, form)
		if err != nil || next == "" {
			return err
		}
		method, address, form = http.MethodGet, next, nil
	}
	return fmt.Errorf("%s leads on and on", p.at.Host)
}

// load reads one page, and gives the address that it leads on to by itself.
func (p *Plain) load(method, address string, form url.Values) (next string, err error) {
	req, err := http.NewRequestWithContext(p.ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return "", fmt.Errorf("opening a page: %w", err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return "", fmt.Errorf("opening a page: %w", withoutQuery(err))
	}
	defer resp.Body.Close()
	page, err := html.Parse(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return "", fmt.Errorf("reading a page of %s: %w", resp.Request.URL.Host, err)
	}
	p.at, p.page = resp.Request.URL, page
	_, target, found := strings.Cut(resp.Header.Get("Refresh"), "url=")
	if !found {
		return "", nil
	}
	to, err := p.at.Parse(target)
	if err != nil {
		return "", fmt.Errorf("a page of %s leads nowhere", p.at.Host)
	}
	return to.String(), nil
}

// withoutQuery takes the address out of an error: its query may hold a code.
func withoutQuery(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}

// Fill types into a field.
func (p *Plain) Fill(selector, text string) error {
	field, err := p.find(selector)
	if err == nil {
		set(field, "value", text)
	}
	return err
}

// Tick chooses a box or a radio button.
func (p *Plain) Tick(selector string) error {
	field, err := p.find(selector)
	if err == nil {
		set(field, "checked", "")
	}
	return err
}

// Press presses a button of a form, which is sent.
func (p *Plain) Press(selector string) error {
	button, err := p.find(selector)
	if err != nil {
		return err
	}
	form := button
	for form != nil && form.Data != "form" {
		form = form.Parent
	}
	if form == nil {
		return fmt.Errorf("%s is in no form", selector)
	}
	action, _ := attribute(form, "action")
	to, err := p.at.Parse(action)
	if err != nil {
		return fmt.Errorf("the form of %s leads nowhere", selector)
	}
	return p.visit(http.MethodPost, to.String(), values(form, button))
}

// values are what a browser sends of a form whose button is pressed.
func values(form, button *html.Node) url.Values {
	v := url.Values{}
	for n := range form.Descendants() {
		name, named := attribute(n, "name")
		value, _ := attribute(n, "value")
		kind, _ := attribute(n, "type")
		_, ticked := attribute(n, "checked")
		switch {
		case !named, n.Data == "button" && n != button, n.Data != "button" && n.Data != "input":
		case (kind == "checkbox" || kind == "radio") && !ticked:
		default:
			v.Add(name, value)
		}
	}
	return v
}

// Text is what can be read on the page.
func (p *Plain) Text() (string, error) {
	body, err := p.find("body")
	if err != nil {
		return "", err
	}
	text := new(strings.Builder)
	for n := range body.Descendants() {
		if n.Type == html.TextNode {
			text.WriteString(n.Data)
		}
	}
	return text.String(), nil
}

func (p *Plain) find(selector string) (*html.Node, error) {
	query, err := cascadia.Parse(selector)
	if err != nil {
		return nil, fmt.Errorf("parsing the selector %s: %w", selector, err)
	}
	if p.page == nil {
		return nil, errors.New("no page is open")
	}
	if n := cascadia.Query(p.page, query); n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("the page of %s has no %s", p.at.Host, selector)
}

func attribute(n *html.Node, key string) (value string, found bool) {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val, true
		}
	}
	return "", false
}

func set(n *html.Node, key, value string) {
	for i := range n.Attr {
		if n.Attr[i].Key == key {
			n.Attr[i].Val = value
			return
		}
	}
	n.Attr = append(n.Attr, html.Attribute{Key: key, Val: value})
}
