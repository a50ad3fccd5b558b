// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/keycardai/keycard-operator/devzone/store"
	"github.com/keycardai/keycard-operator/devzone/wire"
)

// Limits of an authorize request.
const (
	maxParameter = 4096
	maxResources = 10
	maxScopes    = 50
	maxShown     = 200
)

// challengePattern is an S256 code_challenge (RFC 7636, section 4.2).
var challengePattern = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// rejection is a fault of an authorize request. It goes back to the application
// when its redirect URI is beyond doubt, and onto a page otherwise.
type rejection struct {
	code, text string
}

// Error returns code and text.
func (e *rejection) Error() string { return e.code + ": " + e.text }

func reject(code, text string) *rejection { return &rejection{code: code, text: text} }

// readQuery reads the parameters of an authorize request: those of the URL, or
// those of the form of a POST. Only resource may be repeated (RFC 8707).
func readQuery(w http.ResponseWriter, r *http.Request) (url.Values, *rejection) {
	raw := r.URL.RawQuery
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			return nil, reject("invalid_request", "the form is malformed or too large")
		}
		raw = r.PostForm.Encode()
	}
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, reject("invalid_request", "the query is malformed")
	}
	for name, values := range q {
		if len(values) > 1 && name != "resource" {
			return nil, reject("invalid_request", "the parameter "+clean(name)+" must be given once")
		}
		if slices.ContainsFunc(values, func(v string) bool { return len(v) > maxParameter }) {
			return nil, reject("invalid_request", "the parameter "+clean(name)+" is too long")
		}
	}
	return q, nil
}

// clean keeps a name fit for a page.
func clean(s string) string { return wire.Clean(s, maxShown) }

// findClient finds the application that asks, and where to send the browser
// back to. What goes wrong here is shown on a page, never redirected.
func findClient(tx *store.Tx, zoneID string, q url.Values) (store.Application, store.Interaction, *rejection) {
	i := store.Interaction{Meta: store.Meta{ZoneID: zoneID}, ClientID: q.Get("client_id"), RedirectParameter: q.Get("redirect_uri")}
	if i.ClientID == "" {
		return store.Application{}, i, reject("invalid_request", "client_id is missing")
	}
	credential, ok := tx.Credentials.Find(zoneID, i.ClientID)
	if !ok || credential.Type == store.CredentialToken {
		return store.Application{}, i, reject("invalid_client", "no application of this zone has this client_id")
	}
	app, err := tx.Applications.Get(zoneID, credential.ApplicationID)
	if err != nil {
		return app, i, reject("invalid_client", "no application of this zone has this client_id")
	}
	i.ApplicationID = app.ID
	if agent, ok := tx.UserAgents.Find(zoneID, i.ClientID); ok {
		i.UserAgentID = agent.ID
	}
	var registered []string
	if app.Protocols != nil && app.Protocols.OAuth2 != nil {
		registered = app.Protocols.OAuth2.RedirectURIs
	}
	var problem *rejection
	i.RedirectURI, problem = redirectURI(i.RedirectParameter, registered)
	return app, i, problem
}

// redirectURI chooses where to go back to. It must be registered to the letter,
// but for the port of a loopback address (RFC 8252, section 7.3).
func redirectURI(given string, registered []string) (string, *rejection) {
	switch {
	case given == "" && len(registered) == 0:
		return "", nil
	case given == "" && len(registered) == 1 && !runnable(registered[0]):
		return registered[0], nil
	case given == "":
		return "", reject("invalid_request", "redirect_uri is missing, and the application has registered several")
	case runnable(given):
		return "", reject("invalid_request", "redirect_uri has a scheme that can't be redirected to")
	case slices.ContainsFunc(registered, func(r string) bool { return r == given || sameLoopback(r, given) }):
		return given, nil
	}
	return "", reject("invalid_request", "redirect_uri is not one that the application has registered")
}

// runnable tells whether a browser would run a URL in the page that leads to it,
// rather than open it.
func runnable(target string) bool {
	scheme, _, _ := strings.Cut(target, ":")
	return slices.Contains([]string{"javascript", "data", "vbscript"}, strings.ToLower(strings.TrimSpace(scheme)))
}

func sameLoopback(registered, given string) bool {
	a, err1 := url.Parse(registered)
	b, err2 := url.Parse(given)
	if err1 != nil || err2 != nil || !loopback(a) || !loopback(b) {
		return false
	}
	return a.Hostname() == b.Hostname() && a.EscapedPath() == b.EscapedPath() && a.RawQuery == b.RawQuery &&
		!strings.Contains(given, "#")
}

// loopback tells whether a URL is http on this machine, without a user.
func loopback(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "http" && u.User == nil && (u.Hostname() == "localhost" || (ip != nil && ip.IsLoopback()))
}

// readRequest checks the rest of the request and fills it in.
func readRequest(tx *store.Tx, zone store.Zone, app store.Application, q url.Values, i *store.Interaction) *rejection {
	i.State, i.Nonce, i.LoginHint = q.Get("state"), q.Get("nonce"), q.Get("login_hint")
	i.Prompts = strings.Fields(q.Get("prompt"))
	i.Scopes = strings.Fields(q.Get("scope"))
	switch {
	case q.Get("response_type") == "":
		return reject("invalid_request", "response_type is missing")
	case q.Get("response_type") != "code":
		return reject("unsupported_response_type", "response_type must be code")
	case q.Get("response_mode") != "" && q.Get("response_mode") != "query":
		return reject("invalid_request", "response_mode must be query")
	case q.Has("request") || q.Has("request_uri"):
		return reject("request_not_supported", "request objects are not supported")
	case len(i.Scopes) > maxScopes || slices.ContainsFunc(i.Scopes, badScope):
		return reject("invalid_scope", "scope holds what RFC 6749 does not permit")
	}
	if problem := readPrompts(i.Prompts); problem != nil {
		return problem
	}
	if problem := readChallenge(tx, zone, q, i); problem != nil {
		return problem
	}
	return readResources(tx, app, q["resource"], i)
}

func badScope(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || r == '\\' || r > '~' })
}

func readPrompts(prompts []string) *rejection {
	for _, p := range prompts {
		if !slices.Contains([]string{"none", "login", "consent", "select_account"}, p) {
			return reject("invalid_request", "prompt must be none, login, consent or select_account")
		}
	}
	if slices.Contains(prompts, "none") && len(prompts) > 1 {
		return reject("invalid_request", "prompt none goes with no other")
	}
	return nil
}

// readChallenge reads the code_challenge. A client that can't keep a secret must
// send one, and so must every client where the zone requires it.
func readChallenge(tx *store.Tx, zone store.Zone, q url.Values, i *store.Interaction) *rejection {
	i.Challenge = q.Get("code_challenge")
	method := q.Get("code_challenge_method")
	credential, _ := tx.Credentials.Find(zone.ID, i.ClientID)
	switch {
	case i.Challenge == "" && method != "":
		return reject("invalid_request", "code_challenge is missing")
	case i.Challenge == "" && (zone.PKCERequired || credential.Type == store.CredentialPublic):
		return reject("invalid_request", "code_challenge is required, with code_challenge_method S256")
	case i.Challenge == "":
		return nil
	case method != "S256":
		return reject("invalid_request", "code_challenge_method must be S256")
	case !challengePattern.MatchString(i.Challenge):
		return reject("invalid_request", "code_challenge is no SHA-256 in base64url")
	}
	return nil
}

// readResources checks that the application provides each resource or depends
// on it. A client that registered itself has neither; there policies decide.
func readResources(tx *store.Tx, app store.Application, names []string, i *store.Interaction) *rejection {
	if len(names) > maxResources {
		return reject("invalid_target", "resource is given too often")
	}
	for _, name := range names {
		r, ok := tx.Resources.Find(app.ZoneID, name)
		if !ok {
			return reject("invalid_target", `Requested authorization for unknown resource "`+clean(name)+`"`)
		}
		owns := r.ApplicationID != nil && *r.ApplicationID == app.ID
		_, depends := tx.Dependencies.Find(app.ZoneID, store.DependencyKey(app.ID, r.ID))
		if !owns && !depends && i.UserAgentID == "" {
			return reject("access_denied", `Application "`+app.Name+`" is not allowed to access "`+r.Identifier+`".`)
		}
		if !slices.Contains(i.Resources, name) {
			i.Resources = append(i.Resources, name)
		}
	}
	return nil
}
