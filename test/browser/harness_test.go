// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package browser_test tells the stories of a person in front of a browser, in a
// real headless Chromium.
package browser_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/keycardai/keycard-operator/test/testenv/person"
)

// chromium is the running browser; each test has a profile of its own in it.
var chromium *person.Chromium

// scratch is a folder that goes with the tests.
var scratch string

// patience is how long a step outside of the browser may take.
const patience = 15 * time.Second

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	path, err := person.FindChromium()
	if err != nil {
		fmt.Fprintln(os.Stderr, "these tests need Chromium (apt-get install chromium):", err)
		return 1
	}
	if scratch, err = os.MkdirTemp("", "programs"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(scratch)
	started, stop, err := person.StartChromium(context.Background(), path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	chromium = started
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping Chromium:", err)
		code = max(code, 1)
	}
	return code
}

// visitor is somebody with a browser of her own.
type visitor struct {
	t *testing.T
	*person.Tab
}

func newVisitor(t *testing.T) *visitor {
	t.Helper()
	tab, closeTab, err := chromium.NewTab()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeTab)
	return &visitor{t: t, Tab: tab}
}

// must ends the test, with a picture, when a step failed.
func (p *visitor) must(err error) {
	p.t.Helper()
	if err != nil {
		p.shoot("failure")
		p.t.Fatal(err)
	}
}

func (p *visitor) within(f func(ctx context.Context) error) {
	p.t.Helper()
	p.must(p.Within(f))
}

// open goes to an address.
func (p *visitor) open(target string) {
	p.t.Helper()
	p.must(p.Open(target))
}

// fill types into a field.
func (p *visitor) fill(selector, text string) {
	p.t.Helper()
	p.must(p.Fill(selector, text))
}

// press clicks on something that leads to another page, and waits for that.
func (p *visitor) press(selector string) {
	p.t.Helper()
	p.must(p.Press(selector))
}

// sees waits until the page has the texts.
func (p *visitor) sees(texts ...string) {
	p.t.Helper()
	p.must(person.See(p, texts...))
}

// ask evaluates an expression in the page.
func ask[T any](p *visitor, expression string) T {
	p.t.Helper()
	var out T
	p.within(func(ctx context.Context) (err error) {
		out, err = chromedp.Run(ctx, chromedp.Evaluate[T](expression))
		return err
	})
	return out
}

// query is a parameter of the address.
func (p *visitor) query(name string) string {
	p.t.Helper()
	u, err := url.Parse(p.Location())
	if err != nil {
		p.t.Fatal(err)
	}
	return u.Query().Get(name)
}

// shoot keeps a picture of the page where the environment variable SCREENSHOTS
// says.
func (p *visitor) shoot(name string) {
	p.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(p.Context(), chromedp.FullScreenshot(100))
	if err != nil {
		p.t.Log(err)
		return
	}
	file := filepath.Join(dir, strings.ReplaceAll(p.t.Name(), "/", "_")+"-"+name+".png")
	if err := os.WriteFile(file, picture, 0o600); err != nil {
		p.t.Log(err)
	}
}

// contrast returns the texts whose contrast with what is behind them is below 4.5
// to 1 (WCAG 2.2, success criterion 1.4.3).
const contrast = `(() => {
	const rgb = c => (c.match(/[\d.]+/g) || []).map(Number);
	const light = c => { const [r, g, b] = rgb(c).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b };
	const clear = c => c === "transparent" || rgb(c)[3] === 0;
	const behind = e => { while (e && clear(getComputedStyle(e).backgroundColor)) e = e.parentElement; return e ? getComputedStyle(e).backgroundColor : "rgb(255, 255, 255)" };
	const out = [];
	for (const e of document.querySelectorAll("body *")) {
		if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
		const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
		const ratio = (a + 0.05) / (b + 0.05);
		if (ratio < 4.5) out.push(e.tagName + " " + ratio.toFixed(2) + " " + e.textContent.trim().slice(0, 40));
	}
	return out;
})()`

// checkContrast checks the light and the dark page.
func (p *visitor) checkContrast() {
	p.t.Helper()
	grounds := map[string]bool{}
	for _, scheme := range []string{"dark", "light"} {
		p.within(func(ctx context.Context) error {
			features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}
			_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
			return err
		})
		if faint := ask[[]string](p, contrast); len(faint) > 0 {
			p.t.Errorf("%s has faint texts when %s: %v", p.Location(), scheme, faint)
		}
		grounds[ask[string](p, `getComputedStyle(document.body).backgroundColor`)] = true
		if scheme == "dark" {
			p.shoot("dark-" + strings.ReplaceAll(ask[string](p, `document.title`), " ", "-"))
		}
	}
	if len(grounds) != 2 {
		p.t.Errorf("%s looks the same light and dark", p.Location())
	}
}

// checkPage checks what makes a page usable for everybody: a language, one main
// heading, a label for each input, and no sideways scrolling on a small screen.
func (p *visitor) checkPage() {
	p.t.Helper()
	for what, expression := range map[string]string{
		"a language":                  `document.documentElement.lang === "en"`,
		"a title":                     `document.title.length > 0`,
		"one main heading":            `document.querySelectorAll("h1").length === 1`,
		"one main landmark":           `document.querySelectorAll("main").length === 1`,
		"a label for each input":      `[...document.querySelectorAll("input:not([type=hidden])")].every(i => i.labels.length > 0)`,
		"headings that skip no level": `[...document.querySelectorAll("h1,h2,h3,h4")].every((h, i, all) => i === 0 || h.tagName[1] - all[i-1].tagName[1] <= 1)`,
		"its style":                   `document.styleSheets.length > 0`,
		"no script":                   `document.scripts.length === 0`,
	} {
		if !ask[bool](p, expression) {
			p.t.Errorf("%s lacks %s", p.Location(), what)
		}
	}
	p.checkContrast()
	p.within(func(ctx context.Context) error { return chromedp.Do(ctx, chromedp.EmulateViewport(320, 640)) })
	if !ask[bool](p, `document.documentElement.scrollWidth <= 320`) {
		p.t.Errorf("%s scrolls sideways at 320 pixels", p.Location())
	}
	p.shoot("small-" + strings.ReplaceAll(ask[string](p, `document.title`), " ", "-"))
	p.within(func(ctx context.Context) error { return chromedp.Do(ctx, chromedp.EmulateViewport(1280, 900)) })
	p.shoot("wide-" + strings.ReplaceAll(ask[string](p, `document.title`), " ", "-"))
}
