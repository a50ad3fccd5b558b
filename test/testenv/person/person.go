// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package person plays somebody with a browser: a real Chromium, or a plain HTTP client where there is none. Tests and
// the demo share it.
package person

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// patience is how long one step may take.
const patience = 15 * time.Second

// Browser is what a person does with one. Elements are named by CSS selectors.
type Browser interface {
	// Open goes to an address.
	Open(address string) error
	// Fill types into a field, in place of what is there.
	Fill(selector, text string) error
	// Tick chooses a box or a radio button, unless it is chosen already.
	Tick(selector string) error
	// Press presses a button that leads to another page, and waits for that.
	Press(selector string) error
	// Text is what can be read on the page.
	Text() (string, error)
}

// Person is somebody with an account in the zone, and one at Atlassian with the same e-mail address.
type Person struct{ Email, Password string }

// SignIn fills in the zone's login page.
func (p Person) SignIn(b Browser) error {
	return steps(
		func() error { return See(b, "Sign in") },
		func() error { return b.Fill("#identifier", p.Email) },
		func() error { return b.Fill("#password", p.Password) },
		func() error { return b.Press("button.primary") },
	)
}

// AgreeAtAtlassian chooses her account and, by their cloud ids, sites on Atlassian's page. An only site is chosen already.
func (p Person) AgreeAtAtlassian(b Browser, sites ...string) error {
	return steps(
		func() error { return See(b, "requests access", "Account to continue with") },
		func() error { return b.Tick(`input[name=account][value="` + p.Email + `"]`) },
		func() error { return b.Press("button[value=continue]") },
		func() error { return See(b, "What it may do") },
		func() error {
			for _, site := range sites {
				if err := b.Tick(`input[name=site][value="` + site + `"]`); err != nil {
					return err
				}
			}
			return nil
		},
		func() error { return b.Press("button[value=approve]") },
	)
}

// Consent follows the link of a binding to the end, for somebody who has never been asked: she looks who asks, signs in at
// the zone, allows it there, and agrees at Atlassian.
func (p Person) Consent(b Browser, link string, sites ...string) error {
	return steps(
		func() error { return b.Open(link) },
		func() error { return See(b, "act for you?", p.Email) },
		func() error { return b.Press("button") },
		func() error { return p.SignIn(b) },
		func() error { return See(b, "You are signed in as") },
		func() error { return b.Press("button[value=approve]") },
		func() error { return p.AgreeAtAtlassian(b, sites...) },
		func() error { return See(b, "Thank you") },
	)
}

func steps(all ...func() error) error {
	for _, step := range all {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// See waits until the page has the texts.
func See(b Browser, texts ...string) error {
	deadline := time.After(patience)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for got := ""; ; {
		// A page that is just being left has no text; the next one has.
		if now, err := b.Text(); err == nil {
			got = now
		}
		absent := slices.IndexFunc(texts, func(text string) bool { return !strings.Contains(got, text) })
		if absent < 0 {
			return nil
		}
		select {
		case <-deadline:
			return fmt.Errorf("the page has no %q; it says: %s", texts[absent], strings.Join(strings.Fields(got), " "))
		case <-again.C:
		}
	}
}
