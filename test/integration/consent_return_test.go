// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers"
)

// page is the consent page of an operator whose zone has nobody's consent until undo is called.
type page struct {
	*world
	address   string
	undo      func()
	hers, his []*v1alpha1.ConfluenceTokenBinding
}

// servePage starts an operator with a page, and bindings that show the link to it.
func servePage(t *testing.T, watchEvery time.Duration) *page {
	t.Helper()
	w := newWorld(t)
	p := &page{world: w, undo: w.withoutConsent()}
	must(t, w.k8s.Create(w.ctx, w.install()))
	p.hers = []*v1alpha1.ConfluenceTokenBinding{w.binding("first"), w.binding("second"), w.binding("third")}
	p.his = []*v1alpha1.ConfluenceTokenBinding{w.binding("his")}
	p.his[0].Spec.Subject.User = "bob@example.com"
	for _, b := range append(p.hers, p.his...) {
		must(t, w.k8s.Create(w.ctx, b))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p.address = listener.Addr().String()
	must(t, listener.Close())
	w.startOperator(func(o *controllers.Options) {
		o.Clock, o.WatchEvery = w.clock, watchEvery
		o.Consent = controllers.ConsentOptions{Application: true, Address: p.address, URL: "http://" + p.address}
	})
	for _, b := range append(p.hers, p.his...) {
		p.untilLinked(b)
	}
	w.requests.take()
	return p
}

func (p *page) untilLinked(b *v1alpha1.ConfluenceTokenBinding) {
	p.t.Helper()
	p.eventually("the link is there", func(ctx context.Context) (bool, error) {
		err := p.k8s.Get(ctx, client.ObjectKeyFromObject(b), b)
		return b.Status.ConsentURL != "", err
	})
}

func (p *page) failed() int { return strings.Count(p.logs.String(), "the attempt failed") }

// come goes to the zone and back, as far as the page can see.
func (p *page) come() {
	p.t.Helper()
	jar, err := cookiejar.New(nil)
	must(p.t, err)
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	p.eventually("the page is there", func(context.Context) (bool, error) {
		answer, err := browser.Post(p.hers[0].Status.ConsentURL, "", nil)
		if err != nil {
			return false, nil // it is not served yet
		}
		defer answer.Body.Close()
		there, err := answer.Location()
		if err != nil {
			return false, err
		}
		back, err := browser.Get("http://" + p.address + "/-/callback?code=x&state=" + there.Query().Get("state"))
		if err != nil {
			return false, err
		}
		defer back.Body.Close()
		return back.StatusCode == http.StatusOK, nil
	})
}

// When a person comes back to the consent page, all bindings of hers that wait are tried at once, and those of others are
// not. The second time she has to bring it about is as quick as the first.
func TestSiblingsAfterConsent(t *testing.T) {
	p := servePage(t, time.Hour) // so that nothing else notices
	before := p.failed()
	for round := range 2 {
		p.come()
		p.eventually("all of hers were tried again", func(context.Context) (bool, error) {
			return p.failed() >= before+(round+1)*len(p.hers), nil
		})
	}
	p.undo()
	p.come()
	for _, b := range p.hers {
		p.untilReady(b)
	}
	if n, want := p.requests.count(exchanges), 3*len(p.hers); n != want {
		t.Errorf("%d exchanges, want %d", n, want)
	}
}

// Whoever says again and again that she was at the zone leads to a few exchanges and no more. Her consent is noticed all the
// same.
func TestManyReturns(t *testing.T) {
	p := servePage(t, 50*time.Millisecond)
	for range 20 {
		before := reconciles(t)
		p.come()
		p.eventually("the binding was looked at", func(context.Context) (bool, error) {
			return reconciles(t) > before, nil
		})
		p.clock.Step(10 * time.Second)
	}
	p.undo()
	p.consentElsewhere(user)
	p.untilLooked()
	for _, b := range p.hers {
		p.untilReady(b)
	}
	// Five each, the last of which succeeds, and the one with which she consents.
	if n, most := p.requests.count(exchanges), 5*len(p.hers)+1; n > most {
		t.Errorf("%d exchanges, want %d at most", n, most)
	}
}

// Another replica tells of a return by taking the link away. It comes back, however often that is.
func TestLinkComesBack(t *testing.T) {
	p := servePage(t, time.Hour)
	b := p.hers[0]
	for range 6 {
		must(t, p.k8s.Status().Patch(p.ctx, b.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"status":{"consentURL":null}}`))))
		p.untilLinked(b)
		p.clock.Step(5 * time.Second)
	}
	if n, most := p.requests.count(exchanges), 4*len(p.hers); n > most {
		t.Errorf("%d exchanges, want %d at most", n, most)
	}
}

// A replica that does not work tells of a few returns in a row, and of none to a binding that has no link.
func TestFewReturnsAreTold(t *testing.T) {
	w := newWorld(t)
	base, err := url.Parse("https://consent.example")
	must(t, err)
	w.resources.ConsentRedirectURIs, w.bindings.ConsentURL = consentRedirectURIs, base
	install := w.install()
	must(t, w.k8s.Create(w.ctx, install))
	must(t, w.k8s.Create(w.ctx, w.binding("another"))) // for which the application for consent is registered
	w.reconcileResource(install)
	b := w.waiting("reports")[0]
	link := b.Status.ConsentURL
	tell := func() (writes int) {
		w.writes.take()
		must(t, w.bindings.TellConsented(w.ctx, b.Namespace, b.Name))
		writes = len(w.writes.take())
		must(t, w.k8s.Get(w.ctx, client.ObjectKeyFromObject(b), b))
		return writes
	}
	told := 0
	for range 20 {
		told += tell()
		if n := tell(); b.Status.ConsentURL == "" && n != 0 {
			t.Errorf("%d writes without a link", n)
		}
		b.Status.ConsentURL = link
		must(t, w.k8s.Status().Update(w.ctx, b))
		w.clock.Step(10 * time.Second)
	}
	if told == 0 || told > 4 {
		t.Errorf("told %d times", told)
	}
	w.clock.Step(10 * time.Minute)
	if tell() != 1 {
		t.Error("not told after ten minutes")
	}
}
