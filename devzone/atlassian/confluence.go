// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian

import (
	"net/http"
	"slices"
	"strings"

	"github.com/keycardai/keycard-operator/devzone/wire"
)

// Scopes that open an endpoint: the granular one of the REST API v2 or the
// classic one.
var (
	spaceScopes = []string{"read:space:confluence", "read:confluence-space.summary"}
	pageScopes  = []string{"read:page:confluence", "read:confluence-content.all"}
	userScopes  = []string{"read:content-details:confluence", "read:confluence-user"}

	writeScopes  = []string{"write:page:confluence", "write:confluence-content"}
	deleteScopes = []string{"delete:page:confluence", "write:confluence-content"}
	searchScopes = []string{"read:content-details:confluence", "search:confluence"}
	// contentScopes open the list of version 1 of the REST API.
	contentScopes = []string{"read:content-details:confluence", "read:confluence-content.all", "read:confluence-content.summary"}
)

// caller is who a Confluence request comes from, at a site she may use.
type caller struct {
	approval
	user User
	site Site
}

type confluenceEndpoint func(w http.ResponseWriter, r *http.Request, c caller)

func (s *Server) confluenceRoutes() {
	const wiki = " /ex/confluence/{cloudid}/wiki"
	s.confluence("GET"+wiki+"/api/v2/spaces", spaceScopes, s.listSpaces)
	s.confluence("GET"+wiki+"/api/v2/spaces/{id}", spaceScopes, s.getSpace)
	s.confluence("GET"+wiki+"/api/v2/pages", pageScopes, s.listPages)
	s.confluence("POST"+wiki+"/api/v2/pages", writeScopes, s.createPage)
	s.confluence("GET"+wiki+"/api/v2/pages/{id}", pageScopes, s.getPage)
	s.confluence("PUT"+wiki+"/api/v2/pages/{id}", writeScopes, s.updatePage)
	s.confluence("DELETE"+wiki+"/api/v2/pages/{id}", deleteScopes, s.deletePage)
	s.confluence("GET"+wiki+"/rest/api/user/current", userScopes, s.currentUser)
	s.confluence("GET"+wiki+"/rest/api/search", searchScopes, s.search)
	s.confluence("GET"+wiki+"/rest/api/content", contentScopes, s.listContent)
	s.confluence("GET"+wiki+"/rest/api/space", spaceScopes, s.listSpacesV1)
}

// confluence registers an endpoint behind the checks of the gateway, in its
// order: token, quota, site, the site's app access policy, scope.
func (s *Server) confluence(pattern string, scopes []string, e confluenceEndpoint) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		a, ok := s.bearer(r)
		if !ok {
			unauthorized(w, "Unauthorized")
			return
		}
		cloudID := r.PathValue("cloudid")
		if !s.limits.allow(w, a.ClientID+" "+cloudID) {
			return
		}
		site, ok := s.site(cloudID)
		user, known := s.user(a.Email)
		if !ok || !known || !slices.Contains(a.CloudIDs, cloudID) || !slices.Contains(site.Members, a.Email) {
			confluenceError(w, r, http.StatusNotFound, "NOT_FOUND", "Not Found")
			return
		}
		if slices.Contains(site.BlockedApps, a.ClientID) {
			confluenceError(w, r, http.StatusForbidden, "FORBIDDEN", "The app is blocked by the site's app access policy")
			return
		}
		if !slices.ContainsFunc(scopes, func(sc string) bool { return slices.Contains(a.Scopes, sc) }) {
			unauthorized(w, "Unauthorized; scope does not match")
			return
		}
		e(w, r, caller{approval: a, user: user, site: site})
	})
}

func (s *Server) bearer(r *http.Request) (approval, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return approval{}, false
	}
	return s.state.bearer(token)
}

// accessibleResource is one site of a token.
type accessibleResource struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	URL       string   `json:"url"`
	Scopes    []string `json:"scopes"`
	AvatarURL string   `json:"avatarUrl"`
}

func (s *Server) accessibleResources(w http.ResponseWriter, r *http.Request) {
	a, ok := s.bearer(r)
	if !ok {
		unauthorized(w, "Unauthorized")
		return
	}
	scopes := slices.DeleteFunc(slices.Clone(a.Scopes), func(sc string) bool { return sc == offlineAccess })
	out := []accessibleResource{}
	for _, site := range s.data.Sites {
		if slices.Contains(a.CloudIDs, site.CloudID) && slices.Contains(site.Members, a.Email) {
			out = append(out, accessibleResource{
				ID: site.CloudID, Name: site.Name, URL: site.URL, Scopes: scopes,
				AvatarURL: site.URL + "/avatar.png",
			})
		}
	}
	wire.JSON(w, http.StatusOK, out)
}

func (s *Server) currentUser(w http.ResponseWriter, _ *http.Request, c caller) {
	wire.JSON(w, http.StatusOK, map[string]any{
		"type":        "known",
		"accountId":   c.user.AccountID,
		"accountType": "atlassian",
		"email":       c.user.Email,
		"publicName":  c.user.Name,
		"displayName": c.user.Name,
		"profilePicture": map[string]any{
			"path": "/wiki/aa-avatar/" + c.user.AccountID, "width": 48, "height": 48, "isDefault": true,
		},
		"isExternalCollaborator": false,
		"_expandable":            map[string]any{"operations": "", "personalSpace": ""},
		"_links": map[string]any{
			"self":    c.site.URL + "/wiki/rest/api/user?accountId=" + c.user.AccountID,
			"base":    c.site.URL + "/wiki",
			"context": "/wiki",
		},
	})
}

func unauthorized(w http.ResponseWriter, message string) {
	wire.JSON(w, http.StatusUnauthorized, map[string]any{"code": http.StatusUnauthorized, "message": message})
}

// confluenceError writes the error body of the API version that the path is of.
func confluenceError(w http.ResponseWriter, r *http.Request, status int, code, title string) {
	if strings.Contains(r.URL.Path, "/wiki/rest/api/") {
		wire.JSON(w, status, map[string]any{
			"statusCode": status,
			"data":       map[string]any{"authorized": status != http.StatusForbidden, "valid": true, "errors": []any{}, "successful": false},
			"message":    title,
		})
		return
	}
	wire.JSON(w, status, map[string]any{
		"errors": []map[string]any{{"status": status, "code": code, "title": title, "detail": nil}},
	})
}
