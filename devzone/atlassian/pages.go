// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
)

const (
	maxPageBody  = 1 << 20
	maxPageTitle = 255
	timeFormat   = "2006-01-02T15:04:05.000Z"
)

// revision is the latest version of a page. It is a value: a change makes a new
// one.
type revision struct {
	Page
	SpaceID              string
	CreatedAt, ChangedAt string
	AuthorID, EditorID   string
	Number               int
	Message              string
	Deleted              bool
}

// located is a page at its place.
type located struct {
	revision
	space    Space
	position int
}

func pageKey(cloudID, pageID string) string { return cloudID + "/" + pageID }

// visiblePages are the pages of a site that the caller sees: those of the data,
// as they were changed, and those that were added, space by space.
func (s *Server) visiblePages(c caller) []located {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.pagesOf(c, true)
}

// visiblePage finds one of them.
func (s *Server) visiblePage(c caller, id string) (located, bool) {
	return findPage(s.visiblePages(c), id)
}

func findPage(pages []located, id string) (located, bool) {
	i := slices.IndexFunc(pages, func(p located) bool { return p.ID == id })
	if i < 0 {
		return located{}, false
	}
	return pages[i], true
}

// pagesOf lists the pages of the caller's site. The caller of this function
// holds the lock of the state.
func (s *Server) pagesOf(c caller, visibleOnly bool) []located {
	var out []located
	for _, sp := range c.site.Spaces {
		if visibleOnly && !c.sees(sp.RestrictedTo) {
			continue
		}
		for i, r := range s.revisions(c, sp) {
			if !r.Deleted && (!visibleOnly || c.sees(r.RestrictedTo)) {
				out = append(out, located{revision: r, space: sp, position: i})
			}
		}
	}
	return out
}

func (s *Server) revisions(c caller, sp Space) []revision {
	author := s.author(c)
	out := make([]revision, 0, len(sp.Pages))
	seeded := map[string]bool{}
	for _, p := range sp.Pages {
		r, changed := s.state.pages.rows[pageKey(c.site.CloudID, p.ID)]
		if !changed {
			r = revision{
				Page: p, SpaceID: sp.ID, Number: 1, CreatedAt: contentTime, ChangedAt: contentTime,
				AuthorID: author, EditorID: author,
			}
		}
		seeded[p.ID] = true
		out = append(out, r)
	}
	var added []revision
	for key, r := range s.state.pages.rows {
		if key == pageKey(c.site.CloudID, r.ID) && r.SpaceID == sp.ID && !seeded[r.ID] {
			added = append(added, r)
		}
	}
	slices.SortFunc(added, func(a, b revision) int { return cmp.Compare(number(a.ID), number(b.ID)) })
	return append(out, added...)
}

// number orders ids, which are digits.
func number(id string) uint64 {
	n, _ := strconv.ParseUint(id, 10, 64)
	return n
}

// pageRequest is the body of creating and of changing a page.
type pageRequest struct {
	ID       string `json:"id"`
	SpaceID  string `json:"spaceId"`
	Status   string `json:"status"`
	Title    string `json:"title"`
	ParentID string `json:"parentId"`
	Body     struct {
		Representation string `json:"representation"`
		Value          string `json:"value"`
	} `json:"body"`
	Version struct {
		Number  int    `json:"number"`
		Message string `json:"message"`
	} `json:"version"`
}

// apiError is a refusal of the REST API v2.
type apiError struct {
	status      int
	code, title string
}

// Error returns the title.
func (e *apiError) Error() string { return e.title }

func invalidPage(format string, args ...any) error {
	return &apiError{http.StatusBadRequest, "INVALID_REQUEST_PARAMETER", fmt.Sprintf(format, args...)}
}

func (s *Server) createPage(w http.ResponseWriter, r *http.Request, c caller) {
	s.changePage(w, r, c, func(req pageRequest, pages []located) (located, error) {
		i := slices.IndexFunc(c.site.Spaces, func(sp Space) bool { return sp.ID == req.SpaceID && c.sees(sp.RestrictedTo) })
		if i < 0 {
			return located{}, &apiError{http.StatusNotFound, "NOT_FOUND", "Not Found"}
		}
		next := uint64(1)
		for _, p := range s.pagesOf(c, false) {
			next = max(next, number(p.ID)+1)
		}
		for _, r := range s.state.pages.rows {
			next = max(next, number(r.ID)+1)
		}
		now := s.clock().UTC().Format(timeFormat)
		p := located{space: c.site.Spaces[i], revision: revision{
			Page: Page{ID: strconv.FormatUint(next, 10)}, SpaceID: req.SpaceID,
			CreatedAt: now, AuthorID: c.user.AccountID,
		}}
		return p, checkPlace(req, p, pages)
	})
}

func (s *Server) updatePage(w http.ResponseWriter, r *http.Request, c caller) {
	s.changePage(w, r, c, func(req pageRequest, pages []located) (located, error) {
		p, ok := findPage(pages, r.PathValue("id"))
		switch {
		case !ok:
			return p, &apiError{http.StatusNotFound, "NOT_FOUND", "Not Found"}
		case req.ID != p.ID:
			return p, invalidPage("Provided value for 'id' differs from the page in the path")
		case req.Version.Number != p.Number+1:
			return p, &apiError{http.StatusConflict, "CONFLICT", fmt.Sprintf("Version must be incremented when updating a page. Current Version: [%d]. Provided version: [%d]", p.Number, req.Version.Number)}
		}
		return p, checkPlace(req, p, pages)
	})
}

// checkPlace checks what depends on the other pages.
func checkPlace(req pageRequest, p located, pages []located) error {
	for _, other := range pages {
		if other.ID != p.ID && other.space.ID == p.space.ID && other.Title == req.Title {
			return invalidPage("A page with this title already exists: A page already exists with the same TITLE in this space")
		}
	}
	if req.ParentID == "" {
		return nil
	}
	if parent, ok := findPage(pages, req.ParentID); !ok || parent.space.ID != p.space.ID || parent.ID == p.ID {
		return invalidPage("Provided value for 'parentId' is not a page of the space")
	}
	return nil
}

// changePage reads a request, places it among the pages that the caller sees,
// and answers with the page as it is then.
func (s *Server) changePage(w http.ResponseWriter, r *http.Request, c caller, place func(pageRequest, []located) (located, error)) {
	req, err := readPageRequest(r)
	if err != nil {
		writeAPIError(w, r, err)
		return
	}
	var page located
	var refused error
	err = s.state.do(func() {
		if page, refused = place(req, s.pagesOf(c, true)); refused != nil {
			return
		}
		page.Title, page.Body, page.Parent = req.Title, req.Body.Value, cmp.Or(req.ParentID, page.Parent)
		page.Number++
		page.Message, page.EditorID, page.ChangedAt = req.Version.Message, c.user.AccountID, s.clock().UTC().Format(timeFormat)
		s.state.pages.put(pageKey(c.site.CloudID, page.ID), page.revision)
		page, _ = findPage(s.pagesOf(c, true), page.ID)
	})
	if err = errors.Join(refused, err); err != nil {
		writeAPIError(w, r, err)
		return
	}
	s.writePageView(w, c, page, "storage")
}

func (s *Server) deletePage(w http.ResponseWriter, r *http.Request, c caller) {
	found := false
	err := s.state.do(func() {
		var p located
		if p, found = findPage(s.pagesOf(c, true), r.PathValue("id")); found {
			p.Deleted = true
			s.state.pages.put(pageKey(c.site.CloudID, p.ID), p.revision)
		}
	})
	switch {
	case err != nil:
		writeAPIError(w, r, err)
	case !found:
		confluenceError(w, r, http.StatusNotFound, "NOT_FOUND", "Not Found")
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func readPageRequest(r *http.Request) (req pageRequest, err error) {
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != "application/json" {
		return req, &apiError{http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "Content-Type must be application/json"}
	}
	raw, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxPageBody))
	if err != nil {
		return req, &apiError{http.StatusRequestEntityTooLarge, "PAYLOAD_TOO_LARGE", fmt.Sprintf("The body is larger than %d bytes", maxPageBody)}
	}
	if err := json.Unmarshal(raw, &req); err != nil {
		return req, invalidPage("The body is not a JSON object of the documented shape")
	}
	switch {
	case req.Status != "current":
		return req, invalidPage("Provided value for 'status' is not current")
	case req.Title == "" || len([]rune(req.Title)) > maxPageTitle:
		return req, invalidPage("Provided value for 'title' is not 1 to %d characters long", maxPageTitle)
	case req.Body.Representation != "storage":
		return req, invalidPage("Provided value for 'body.representation' is not storage")
	}
	return req, nil
}

func writeAPIError(w http.ResponseWriter, r *http.Request, err error) {
	if e, ok := errors.AsType[*apiError](err); ok {
		confluenceError(w, r, e.status, e.code, e.title)
		return
	}
	confluenceError(w, r, http.StatusInternalServerError, "INTERNAL_SERVER_ERROR", "the state could not be saved")
}
