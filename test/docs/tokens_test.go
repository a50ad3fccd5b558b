// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/format"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/tokenfile"
	"github.com/keycardai/keycard-operator/test/recipes"
)

// The examples of docs/tokens.md read pages with the files of a mounted Secret, follow a rotation, and fail for all to
// see when there is nothing to follow.
func TestTokenExamples(t *testing.T) {
	snippets, err := recipes.Snippets(read(t, "docs/tokens.md"))
	if err != nil {
		t.Fatal("docs/tokens.md: ", err)
	}
	for _, e := range recipes.Examples {
		t.Run(e.Name, func(t *testing.T) {
			for _, tool := range []string{e.Command[0], "curl"} {
				if _, err := exec.LookPath(tool); err != nil {
					t.Fatalf("this test runs every example; apt-get install curl nodejs python3-requests: %v", err)
				}
			}
			dir := t.TempDir()
			if err := e.Write(root, dir, snippets[e.Snippet]); err != nil {
				t.Fatal(err)
			}
			p := program{Example: e, dir: dir}
			t.Run("good token", p.readsPages)
			t.Run("rotation", p.followsRotation)
			t.Run("refused twice", p.givesUp)
			t.Run("quota", p.doesNotInsist)
			t.Run("redirect", p.keepsTheTokenHome)
			t.Run("no folder", p.missesTheFolder)
		})
	}
	for _, name := range []string{"go", "oauth"} {
		if formatted, err := format.Source([]byte(snippets[name])); err != nil || string(formatted) != snippets[name] {
			t.Errorf("the example %s is not formatted: %v\n%s", name, err, formatted)
		}
	}
}

// The page names every file, and every field of token.json.
func TestTokensPageIsComplete(t *testing.T) {
	page := read(t, "docs/tokens.md")
	w := newWorld(t, 0)
	files := w.files("token", openSite)
	var fields map[string]any
	if err := json.Unmarshal(files[tokenfile.KeyJSON], &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(files)), slices.Collect(maps.Keys(fields))) {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("docs/tokens.md does not name %s", name)
		}
	}
	if !strings.Contains(page, v1alpha1.RefreshRequestedAtAnnotation+"=") {
		t.Errorf("docs/tokens.md does not show the annotation %s", v1alpha1.RefreshRequestedAtAnnotation)
	}
}

// program is an example on disk.
type program struct {
	recipes.Example
	dir string
}

type outcome struct {
	failed          bool
	printed, errors string
}

// run runs the program over a mounted folder.
func (p program) run(t *testing.T, folder string) outcome {
	t.Helper()
	// go run compiles first, on a machine that does other things.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Command[0], p.Command[1:]...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "TOKEN_DIR="+folder, "NO_PROXY=*", "no_proxy=*", "GOFLAGS=", "GOWORK=off")
	cmd.WaitDelay = 10 * time.Second
	var printed, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &complaint
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("running %v: %v\n%s", p.Command, err, complaint.String())
	}
	return outcome{failed: err != nil, printed: printed.String(), errors: complaint.String()}
}

// expectPages checks that the titles of the site's pages were printed.
func (p program) expectPages(t *testing.T, got outcome) {
	t.Helper()
	if got.failed {
		t.Fatalf("it failed:\n%s%s", got.printed, got.errors)
	}
	titles := strings.Split(strings.TrimSpace(got.printed), "\n")
	if p.Snippet == "curl" {
		titles = titlesOfJSON(t, got.printed)
	}
	if !slices.Equal(titles, []string{"Roadmap", "Minutes of May"}) {
		t.Errorf("it printed %q", got.printed)
	}
}

// expectFailure checks that the program failed and said why, without the token.
func (p program) expectFailure(t *testing.T, w *world, got outcome, why string) {
	t.Helper()
	if !got.failed || !strings.Contains(got.errors, why) || got.printed != "" {
		t.Errorf("failed: %v, without %q in its message, or with output:\n%s\noutput:\n%s", got.failed, why, got.errors, got.printed)
	}
	for _, token := range w.tokens {
		if strings.Contains(got.errors, token) {
			t.Errorf("the message has the token:\n%s", got.errors)
		}
	}
}

func (p program) readsPages(t *testing.T) {
	w := newWorld(t, 0)
	w.show(w.files(w.login(), openSite))
	p.expectPages(t, p.run(t, w.mount.dir))
	w.expectRequests(http.StatusOK)
}

// Whatever a stale file is answered with, the next read helps. The address may be another one, too.
func (p program) followsRotation(t *testing.T) {
	for status, stale := range map[int]func(w *world) map[string][]byte{
		http.StatusUnauthorized: func(w *world) map[string][]byte { return w.files(w.expired(), openSite) },
		http.StatusForbidden:    func(w *world) map[string][]byte { return w.files(w.login(), blockedSite) },
		http.StatusNotFound:     func(w *world) map[string][]byte { return w.files(w.login(), otherSite) },
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			w := newWorld(t, 0)
			w.show(stale(w))
			w.showAfterRefusal(w.files(w.login(), openSite))
			p.expectPages(t, p.run(t, w.mount.dir))
			w.expectRequests(status, http.StatusOK)
		})
	}
}

func (p program) givesUp(t *testing.T) {
	w := newWorld(t, 0)
	w.show(w.files(w.expired(), openSite))
	p.expectFailure(t, w, p.run(t, w.mount.dir), "Confluence answered 401")
	w.expectRequests(http.StatusUnauthorized, http.StatusUnauthorized)
}

// What is not about the token is not asked again at once.
func (p program) doesNotInsist(t *testing.T) {
	w := newWorld(t, 1)
	w.show(w.files(w.login(), openSite))
	p.expectPages(t, p.run(t, w.mount.dir))
	p.expectFailure(t, w, p.run(t, w.mount.dir), "Confluence answered 429")
	w.expectRequests(http.StatusOK, http.StatusTooManyRequests)
}

// The token stays with Confluence when an answer leads elsewhere. Some do not go there at all.
func (p program) keepsTheTokenHome(t *testing.T) {
	w := newWorld(t, 0)
	var followed, leaked atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		followed.Store(true)
		leaked.Store(r.Header.Get("Authorization") != "")
		_, _ = rw.Write([]byte(`{"results":[{"title":"elsewhere"}]}`))
	}))
	defer elsewhere.Close()
	w.redirectTo(elsewhere.URL + "/elsewhere")
	w.show(w.files(w.login(), openSite))
	got := p.run(t, w.mount.dir)
	if p.StaysHome {
		p.expectFailure(t, w, got, "Confluence answered 302")
	} else if got.failed || got.printed != "elsewhere\n" {
		t.Errorf("it printed %q: %s", got.printed, got.errors)
	}
	if followed.Load() == p.StaysHome || leaked.Load() {
		t.Errorf("the redirect was followed: %v, with the token: %v", followed.Load(), leaked.Load())
	}
	w.expectRequests(http.StatusFound)
}

func (p program) missesTheFolder(t *testing.T) {
	w := newWorld(t, 0)
	file := "token.json"
	if p.Snippet == "curl" {
		file = "env"
	}
	p.expectFailure(t, w, p.run(t, w.mount.dir), filepath.Join(w.mount.dir, file))
	w.expectRequests()
}

func titlesOfJSON(t *testing.T, printed string) []string {
	t.Helper()
	var pages struct{ Results []struct{ Title string } }
	if err := json.Unmarshal([]byte(printed), &pages); err != nil {
		t.Fatalf("it printed %q: %v", printed, err)
	}
	var titles []string
	for _, page := range pages.Results {
		titles = append(titles, page.Title)
	}
	return titles
}
