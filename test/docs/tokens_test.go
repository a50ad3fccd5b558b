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
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/tokenfile"
)

// example is how a snippet of docs/tokens.md is run.
type example struct {
	name, snippet, file string
	command             []string
	// titles reads what it printed. Absent: a title on each line.
	titles func(t *testing.T, printed string) []string
}

var examples = []example{
	{"curl in bash", "curl", "pages.sh", []string{"bash", "pages.sh"}, titlesOfJSON},
	{"curl in sh", "curl", "pages.sh", []string{"sh", "pages.sh"}, titlesOfJSON},
	{"python", "python", "pages.py", []string{"python3", "pages.py"}, nil},
	{"go", "go", "main.go", []string{"go", "run", "."}, nil},
	{"node", "node", "pages.mjs", []string{"node", "pages.mjs"}, nil},
}

// The examples of docs/tokens.md read pages with the files of a mounted Secret, follow a rotation, and fail for all to
// see when there is nothing to follow.
func TestTokenExamples(t *testing.T) {
	snippets := runnable(t, read(t, "docs/tokens.md"))
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			for _, tool := range []string{e.command[0], "curl"} {
				if _, err := exec.LookPath(tool); err != nil {
					t.Fatalf("this test runs every example; apt-get install curl nodejs python3: %v", err)
				}
			}
			dir := t.TempDir()
			write(t, filepath.Join(dir, e.file), snippets[e.snippet])
			write(t, filepath.Join(dir, "go.mod"), "module pages\n\ngo 1.22\n")
			p := program{example: e, dir: dir}
			t.Run("good token", p.readsPages)
			t.Run("rotation", p.followsRotation)
			t.Run("refused twice", p.givesUp)
			t.Run("quota", p.doesNotInsist)
			t.Run("redirect", p.keepsTheTokenHome)
			t.Run("no folder", p.missesTheFolder)
		})
	}
	if formatted, err := format.Source([]byte(snippets["go"])); err != nil || string(formatted) != snippets["go"] {
		t.Errorf("the Go example is not formatted: %v\n%s", err, formatted)
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

var fence = regexp.MustCompile("(?s)\n(?:<!-- run: ([a-z]+) -->\n)?```([a-z]+)\n(.*?\n)```\n")

// runnable gives the snippets that are marked to be run. Each one that is a program has to be.
func runnable(t *testing.T, document string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, part := range fence.FindAllStringSubmatch(document, -1) {
		name, language, text := part[1], part[2], part[3]
		switch {
		case name != "":
			out[name] = text
		case language != "yaml" && language != "sh":
			t.Errorf("a snippet in %s is not run:\n%s", language, text)
		}
	}
	for name := range out {
		if !slices.ContainsFunc(examples, func(e example) bool { return e.snippet == name }) {
			t.Errorf("nothing runs the snippet %s", name)
		}
	}
	for _, e := range examples {
		if out[e.snippet] == "" {
			t.Fatalf("docs/tokens.md has no snippet %s", e.snippet)
		}
	}
	return out
}

// program is an example on disk.
type program struct {
	example
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
	cmd := exec.CommandContext(ctx, p.command[0], p.command[1:]...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "TOKEN_DIR="+folder, "NO_PROXY=*", "no_proxy=*", "GOFLAGS=", "GOWORK=off")
	cmd.WaitDelay = 10 * time.Second
	var printed, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &complaint
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("running %v: %v\n%s", p.command, err, complaint.String())
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
	if p.titles != nil {
		titles = p.titles(t, got.printed)
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

// The token stays with Confluence when an answer leads elsewhere. curl does not go there at all.
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
	if p.snippet == "curl" {
		p.expectFailure(t, w, got, "Confluence answered 302")
	} else if got.failed || got.printed != "elsewhere\n" {
		t.Errorf("it printed %q: %s", got.printed, got.errors)
	}
	if followed.Load() == (p.snippet == "curl") || leaked.Load() {
		t.Errorf("the redirect was followed: %v, with the token: %v", followed.Load(), leaked.Load())
	}
	w.expectRequests(http.StatusFound)
}

func (p program) missesTheFolder(t *testing.T) {
	w := newWorld(t, 0)
	file := "token.json"
	if p.snippet == "curl" {
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

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
