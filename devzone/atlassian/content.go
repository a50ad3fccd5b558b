// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/keycardai/keycard-operator/devzone/wire"
)

// contentTime is when everything of the data was made.
const contentTime = "2026-01-05T09:00:00.000Z"

type spaceView struct {
	ID          string            `json:"id"`
	Key         string            `json:"key"`
	Name        string            `json:"name"`
	Type        string            `json:"type"`
	Status      string            `json:"status"`
	AuthorID    string            `json:"authorId"`
	CreatedAt   string            `json:"createdAt"`
	HomepageID  *string           `json:"homepageId"`
	Description *string           `json:"description"`
	Icon        *string           `json:"icon"`
	Links       map[string]string `json:"_links"`
}

type pageView struct {
	ID          string              `json:"id"`
	Status      string              `json:"status"`
	Title       string              `json:"title"`
	SpaceID     string              `json:"spaceId"`
	ParentID    *string             `json:"parentId"`
	ParentType  *string             `json:"parentType"`
	Position    int                 `json:"position"`
	AuthorID    string              `json:"authorId"`
	OwnerID     string              `json:"ownerId"`
	LastOwnerID *string             `json:"lastOwnerId"`
	CreatedAt   string              `json:"createdAt"`
	Version     versionView         `json:"version"`
	Body        map[string]bodyView `json:"body"`
	Links       map[string]string   `json:"_links"`
}

type versionView struct {
	CreatedAt string `json:"createdAt"`
	Message   string `json:"message"`
	Number    int    `json:"number"`
	MinorEdit bool   `json:"minorEdit"`
	AuthorID  string `json:"authorId"`
}

type bodyView struct {
	Value          string `json:"value"`
	Representation string `json:"representation"`
}

// sees tells whether a restriction lets the caller through.
func (c caller) sees(restrictedTo []string) bool {
	return len(restrictedTo) == 0 || slices.Contains(restrictedTo, c.Email)
}

func (s *Server) listSpaces(w http.ResponseWriter, r *http.Request, c caller) {
	ids, keys := listParameter(r, "ids"), listParameter(r, "keys")
	var found []entry
	for _, sp := range c.site.Spaces {
		if !c.sees(sp.RestrictedTo) || !oneOf(ids, sp.ID) || !oneOf(keys, sp.Key) ||
			!oneOf(listParameter(r, "type"), "global") || !oneOf(listParameter(r, "status"), "current") {
			continue
		}
		found = append(found, entry{id: sp.ID, view: s.spaceView(c, sp)})
	}
	writePage(w, r, c, found)
}

func (s *Server) getSpace(w http.ResponseWriter, r *http.Request, c caller) {
	for _, sp := range c.site.Spaces {
		if sp.ID == r.PathValue("id") && c.sees(sp.RestrictedTo) {
			v := s.spaceView(c, sp)
			v.Links["base"] = c.site.URL + "/wiki"
			wire.JSON(w, http.StatusOK, v)
			return
		}
	}
	confluenceError(w, r, http.StatusNotFound, "NOT_FOUND", "Not Found")
}

func (s *Server) spaceView(c caller, sp Space) spaceView {
	v := spaceView{
		ID: sp.ID, Key: sp.Key, Name: sp.Name, Type: "global", Status: "current",
		AuthorID: s.author(c), CreatedAt: contentTime, Links: map[string]string{"webui": "/spaces/" + sp.Key},
	}
	if len(sp.Pages) > 0 {
		v.HomepageID = &sp.Pages[0].ID
	}
	return v
}

func (s *Server) listPages(w http.ResponseWriter, r *http.Request, c caller) {
	format, ok := bodyFormat(r, "storage", "atlas_doc_format")
	if !ok {
		confluenceError(w, r, http.StatusBadRequest, "INVALID_REQUEST_PARAMETER",
			"Provided value for 'body-format' is not storage or atlas_doc_format")
		return
	}
	ids, spaces := listParameter(r, "id"), listParameter(r, "space-id")
	title := r.URL.Query().Get("title")
	var found []entry
	for _, p := range s.visiblePages(c) {
		if oneOf(spaces, p.space.ID) && oneOf(ids, p.ID) && (title == "" || title == p.Title) &&
			oneOf(listParameter(r, "status"), "current") {
			found = append(found, entry{id: p.ID, view: s.pageView(p, format)})
		}
	}
	writePage(w, r, c, found)
}

func (s *Server) getPage(w http.ResponseWriter, r *http.Request, c caller) {
	format, ok := bodyFormat(r, "storage", "atlas_doc_format", "view")
	if !ok {
		confluenceError(w, r, http.StatusBadRequest, "INVALID_REQUEST_PARAMETER",
			"Provided value for 'body-format' is not storage, atlas_doc_format or view")
		return
	}
	p, ok := s.visiblePage(c, r.PathValue("id"))
	if !ok {
		confluenceError(w, r, http.StatusNotFound, "NOT_FOUND", "Not Found")
		return
	}
	s.writePageView(w, c, p, format)
}

// writePageView answers with one page.
func (s *Server) writePageView(w http.ResponseWriter, c caller, p located, format string) {
	v := s.pageView(p, format)
	v.Links["base"] = c.site.URL + "/wiki"
	wire.JSON(w, http.StatusOK, v)
}

func (s *Server) pageView(p located, format string) pageView {
	path := "/spaces/" + p.space.Key + "/pages/" + p.ID
	v := pageView{
		ID: p.ID, Status: "current", Title: p.Title, SpaceID: p.space.ID, Position: p.position,
		AuthorID: p.AuthorID, OwnerID: p.AuthorID, CreatedAt: p.CreatedAt,
		Version: versionView{CreatedAt: p.ChangedAt, Message: p.Message, Number: p.Number, AuthorID: p.EditorID},
		Body:    map[string]bodyView{},
		Links:   map[string]string{"webui": path, "editui": path + "/edit", "tinyui": "/x/" + p.ID},
	}
	if p.Parent != "" {
		kind := "page"
		v.ParentID, v.ParentType = &p.Parent, &kind
	}
	if format != "" {
		v.Body[format] = bodyView{Value: body(p.Page, format), Representation: format}
	}
	return v
}

// body gives a page's text in a format. The document format holds the storage
// format as one paragraph, which is enough to tell the two apart.
func body(p Page, format string) string {
	if format != "atlas_doc_format" {
		return p.Body
	}
	type node map[string]any
	doc, err := json.Marshal(node{"type": "doc", "version": 1, "content": []node{
		{"type": "paragraph", "content": []node{{"type": "text", "text": p.Body}}},
	}})
	if err != nil {
		panic("encoding a document of strings")
	}
	return string(doc)
}

// author is the first member of the site, who wrote everything.
func (s *Server) author(c caller) string {
	author, _ := s.user(c.site.Members[0])
	return author.AccountID
}

func bodyFormat(r *http.Request, allowed ...string) (string, bool) {
	format := r.URL.Query().Get("body-format")
	return format, format == "" || slices.Contains(allowed, format)
}
