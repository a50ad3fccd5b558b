// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package person

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/chromedp/chromedp"
)

// FindChromium gives the path of the program: what the environment variable CHROMIUM names, or chromium on the PATH.
func FindChromium() (string, error) {
	name := os.Getenv("CHROMIUM")
	if name == "" {
		name = "chromium"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("there is no Chromium; install it, or name its program in CHROMIUM: %w", err)
	}
	return path, nil
}

// Chromium is a running browser without a window.
type Chromium struct {
	ctx context.Context //nolint:containedctx // it is the browser: that is how chromedp hands it out
}

// StartChromium starts the program. It ends, and its profile goes, when stop is called.
func StartChromium(ctx context.Context, path string) (c *Chromium, stop func() error, err error) {
	profile, err := os.MkdirTemp("", "chromium-")
	if err != nil {
		return nil, nil, fmt.Errorf("making a profile for Chromium: %w", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(profile),
		// As root there is no sandbox, and nothing but our own pages is opened.
		chromedp.Flag("no-sandbox", true), chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("no-first-run", true),
	)
	allocator, end := chromedp.NewExecAllocator(ctx, options...)
	browser, cancel := chromedp.NewContext(allocator)
	stop = func() error {
		cancel()
		end() // waits for the program
		return os.RemoveAll(profile)
	}
	if err := chromedp.Do(browser); err != nil {
		_ = stop() // why it did not start says more
		return nil, nil, fmt.Errorf("starting %s: %w", path, err)
	}
	return &Chromium{ctx: browser}, stop, nil
}

// Tab is a window with a profile of its own.
type Tab struct {
	ctx context.Context //nolint:containedctx // it is the tab: that is how chromedp hands it out
}

var _ Browser = (*Tab)(nil)

// NewTab opens one, which stays until close is called.
func (c *Chromium) NewTab() (t *Tab, closeTab func(), err error) {
	ctx, cancel := chromedp.NewContext(c.ctx, chromedp.WithNewBrowserContext())
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 900)); err != nil {
		cancel()
		return nil, nil, fmt.Errorf("opening a window: %w", err)
	}
	return &Tab{ctx: ctx}, cancel, nil
}

// Context is the tab's, for what else the devtools can do.
func (t *Tab) Context() context.Context { return t.ctx }

// Within runs f with the tab's context, as long as a step may take.
func (t *Tab) Within(f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	if err := f(ctx); err != nil {
		return fmt.Errorf("in the browser at %s: %w", t.Location(), err)
	}
	return nil
}

// Location is the address of the page.
func (t *Tab) Location() string {
	at, err := chromedp.Run(t.ctx, chromedp.Location())
	if err != nil {
		return err.Error()
	}
	return at
}

// Open goes to an address.
func (t *Tab) Open(address string) error {
	return t.Within(func(ctx context.Context) error { return chromedp.Do(ctx, chromedp.Navigate(address)) })
}

// Fill types into a field.
func (t *Tab) Fill(selector, text string) error {
	return t.Within(func(ctx context.Context) error {
		return chromedp.Do(ctx, chromedp.Clear(chromedp.CSS(selector)), chromedp.SendKeys(chromedp.CSS(selector), text))
	})
}

// Tick chooses a box or a radio button.
func (t *Tab) Tick(selector string) error {
	return t.Within(func(ctx context.Context) error {
		ticked, err := chromedp.Run(ctx, chromedp.Evaluate[bool](fmt.Sprintf("document.querySelector(%q)?.checked ?? false", selector)))
		if err != nil || ticked {
			return err
		}
		return chromedp.Do(ctx, chromedp.Click(chromedp.CSS(selector)))
	})
}

// Press presses a button, and waits for the next page.
func (t *Tab) Press(selector string) error {
	return t.Within(func(ctx context.Context) error {
		_, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(selector)))
		return err
	})
}

// Text is what can be read on the page.
func (t *Tab) Text() (text string, err error) {
	err = t.Within(func(ctx context.Context) (err error) {
		text, err = chromedp.Run(ctx, chromedp.Evaluate[string](`document.body ? document.body.innerText : ""`))
		return err
	})
	return text, err
}
