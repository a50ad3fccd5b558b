// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package consent

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
	"github.com/keycardai/keycard-operator/controllers/consent"
	"github.com/keycardai/keycard-operator/controllers/tokenbinding"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// page is the consent page of an operator whose zone has nobody's consent until undo is called.
type page struct {
	*world.World
	address   string
	undo      func()
	hers, his []*v1alpha1.ConfluenceTokenBinding
}

// servePage starts an operator with a page, and bindings that show the link to it.
func servePage(t *testing.T, watchEvery time.Duration) *page {
	t.Helper()
	w := world.New(t)
	p := &page{World: w, undo: withoutConsent(w)}
	must.Succeed(t, w.K8s.Create(w.Ctx, w.Install()))
	p.hers = []*v1alpha1.ConfluenceTokenBinding{w.Binding("first"), w.Binding("second"), w.Binding("third")}
	p.his = []*v1alpha1.ConfluenceTokenBinding{w.Binding("his")}
	p.his[0].Spec.Subject.User = "bob@example.com"
	for _, b := range append(p.hers, p.his...) {
		must.Succeed(t, w.K8s.Create(w.Ctx, b))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must.Succeed(t, err)
	p.address = listener.Addr().String()
	must.Succeed(t, listener.Close())
	w.StartOperator(func(o *controllers.Options) {
		o.Clock, o.WatchEvery = w.Clock, watchEvery
		o.Consent = consent.Options{Application: true, Address: p.address, URL: "http://" + p.address}
	})
	for _, b := range append(p.hers, p.his...) {
		p.untilLinked(b)
	}
	w.Requests.Take()
	return p
}

func (p *page) untilLinked(b *v1alpha1.ConfluenceTokenBinding) {
	p.T.Helper()
	p.Eventually("the link is there", func(ctx context.Context) (bool, error) {
		err := p.K8s.Get(ctx, client.ObjectKeyFromObject(b), b)
		return b.Status.ConsentURL != "", err
	})
}

func (p *page) failed() int { return strings.Count(p.Logs.String(), "the attempt failed") }

// come goes to the zone and back, as far as the page can see.
func (p *page) come() {
	p.T.Helper()
	jar, err := cookiejar.New(nil)
	must.Succeed(p.T, err)
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	p.Eventually("the page is there", func(context.Context) (bool, error) {
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
		p.Eventually("all of hers were tried again", func(context.Context) (bool, error) {
			return p.failed() >= before+(round+1)*len(p.hers), nil
		})
	}
	p.undo()
	p.come()
	for _, b := range p.hers {
		p.UntilReady(b)
	}
	if n, want := p.Requests.Count(world.Exchanges), 3*len(p.hers); n != want {
		t.Errorf("%d exchanges, want %d", n, want)
	}
}

// Whoever says again and again that she was at the zone leads to a few exchanges and no more. Her consent is noticed all the
// same.
func TestManyReturns(t *testing.T) {
	p := servePage(t, 50*time.Millisecond)
	for range 20 {
		before := p.Reconciles()
		p.come()
		p.Eventually("the binding was looked at", func(context.Context) (bool, error) {
			return p.Reconciles() > before, nil
		})
		p.Clock.Step(10 * time.Second)
	}
	p.undo()
	consentElsewhere(p.World, world.User)
	untilLooked(p.World)
	for _, b := range p.hers {
		p.UntilReady(b)
	}
	// Five each, the last of which succeeds, and the one with which she consents.
	if n, most := p.Requests.Count(world.Exchanges), 5*len(p.hers)+1; n > most {
		t.Errorf("%d exchanges, want %d at most", n, most)
	}
}

// Another replica tells of a return by taking the link away. It comes back, however often that is.
func TestLinkComesBack(t *testing.T) {
	p := servePage(t, time.Hour)
	b := p.hers[0]
	for range 6 {
		must.Succeed(t, p.K8s.Status().Patch(p.Ctx, b.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"status":{"consentURL":null}}`))))
		p.untilLinked(b)
		p.Clock.Step(5 * time.Second)
	}
	if n, most := p.Requests.Count(world.Exchanges), 4*len(p.hers); n > most {
		t.Errorf("%d exchanges, want %d at most", n, most)
	}
}

// A replica that does not work tells of a few returns in a row, and of none to a binding that has no link.
func TestFewReturnsAreTold(t *testing.T) {
	w := world.New(t)
	base, err := url.Parse("https://consent.example")
	must.Succeed(t, err)
	w.ConsentPage()
	w.Rebuild(func(d *tokenbinding.Deps) { d.ConsentURL = base })
	install := w.Install()
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	must.Succeed(t, w.K8s.Create(w.Ctx, w.Binding("another"))) // for which the application for consent is registered
	w.ReconcileResource(install)
	b := waiting(w, "reports")[0]
	page := consent.NewPage(w.Consent)
	link := b.Status.ConsentURL
	tell := func() (writes int) {
		w.Writes.Take()
		must.Succeed(t, page.Tell(w.Ctx, client.ObjectKeyFromObject(b)))
		writes = len(w.Writes.Take())
		must.Succeed(t, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(b), b))
		return writes
	}
	told := 0
	for range 20 {
		told += tell()
		if n := tell(); b.Status.ConsentURL == "" && n != 0 {
			t.Errorf("%d writes without a link", n)
		}
		b.Status.ConsentURL = link
		must.Succeed(t, w.K8s.Status().Update(w.Ctx, b))
		w.Clock.Step(10 * time.Second)
	}
	if told == 0 || told > 4 {
		t.Errorf("told %d times", told)
	}
	w.Clock.Step(10 * time.Minute)
	if tell() != 1 {
		t.Error("not told after ten minutes")
	}
}
