// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package consent serves the page on which a person lets an application act for
// her in the background: it says who asks for what, sends her browser to the
// zone's authorization endpoint (with PKCE, RFC 7636) for the resource, and
// thanks her when she comes back. What she agreed to is kept in the zone; the
// code that comes back is not redeemed, because nobody here needs her token.
package consent

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
)

// callbackPath is where the zone sends the browser back to. No namespace has
// such a name.
const callbackPath = "/-/callback"

// stateCookie holds the state of the one flow of a browser that is under way,
// and whose it is. With the prefix no other site of the domain can set it.
const stateCookie, stateCookieHTTPS = "keycard_consent", "__Host-keycard_consent"

// flowLifetime is how long a person may take.
const flowLifetime = 15 * time.Minute

var (
	// ErrUnknown says that no such binding asks for consent.
	ErrUnknown = errors.New("no such binding")
	// ErrNotYet says that the zone is not ready for it.
	ErrNotYet = errors.New("the application for consent is not registered in the zone yet")
)

// Request is what a person is asked for.
type Request struct {
	// Namespace and Name are of the binding that asks.
	Namespace, Name string
	// Application is who acts, in words that the person may know; User is her identifier in the zone.
	Application, User string
	// ResourceName is the resource in words, Resource its identifier.
	ResourceName, Resource string
	// Scopes are what she consents to: the zone asks the provider for all that the resource offers. Used is what the binding
	// has of them; empty when that is all.
	Scopes, Used []string
	// AuthorizationEndpoint is the zone's.
	AuthorizationEndpoint string
	// ClientID is the public application in the zone that people sign in to: its redirect URIs have the page's, and it
	// depends on the resource.
	ClientID string
}

// Zone is the host that her browser is sent to.
func (r Request) Zone() string {
	u, err := url.Parse(r.AuthorizationEndpoint)
	if err != nil {
		return ""
	}
	return printable(u.Host)
}

// Config is what the page works with. Every field is required but Refused.
type Config struct {
	// URL is where browsers reach the page, without a trailing slash.
	URL *url.URL
	// Lookup finds what a binding asks for, or fails with ErrUnknown.
	Lookup func(ctx context.Context, namespace, name string) (Request, error)
	// Consented is told when a person came back from the zone.
	Consented func(namespace, name string)
	// Refused, if there is one, is told when she came back with the zone's refusal instead.
	Refused func(namespace, name, why string)
	Logger  logr.Logger
}

// Link is the address of the page of a binding.
func Link(base *url.URL, namespace, name string) string {
	return base.JoinPath(namespace, name).String()
}

// RedirectURI is what has to be registered in the zone.
func RedirectURI(base *url.URL) string { return base.JoinPath(callbackPath).String() }

// LoopbackPort is the port of a page on somebody's own machine for zones that compare redirect URIs to the letter. With
// others any port does (RFC 8252, section 7.3).
const LoopbackPort = 8765

// LoopbackURL is where a page on somebody's own machine is.
func LoopbackURL(port int) *url.URL {
	return &url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
}

// RedirectURIs are all that the application in the zone has: those of pages on people's own machines, and of the page
// at base unless that is nil.
func RedirectURIs(base *url.URL) []string {
	uris := []string{"http://127.0.0.1" + callbackPath, RedirectURI(LoopbackURL(LoopbackPort))}
	if base != nil {
		uris = append(uris, RedirectURI(base))
	}
	return uris
}

//go:embed pages
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages/*.tmpl"))

type server struct{ Config }

// Handler serves the pages below the path of the URL.
func Handler(c Config) http.Handler {
	s := &server{c}
	mux := http.NewServeMux()
	base := strings.TrimSuffix(c.URL.Path, "/")
	mux.HandleFunc("GET "+base+"/{namespace}/{name}", s.ask)
	mux.HandleFunc("POST "+base+"/{namespace}/{name}", s.start)
	mux.HandleFunc("GET "+base+callbackPath, s.callback)
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.fail(w, http.StatusForbidden, "This form was sent from another site. Open the link again.")
	}))
	return s.atItsAddress(guard.Handler(mux))
}

// atItsAddress refuses requests for another host. A site whose name leads to this address could otherwise read the page as its
// own (DNS rebinding), also on a person's own machine.
func (s *server) atItsAddress(next http.Handler) http.Handler {
	own := address(s.URL.Scheme, s.URL.Host)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if address(s.URL.Scheme, r.Host) != own {
			s.fail(w, http.StatusMisdirectedRequest, "This page is at "+s.URL.Scheme+"://"+s.URL.Host+". Open the link again; a proxy on the way has to pass the Host header on.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// address is a host with its port, which may be left out when it is the scheme's.
func address(scheme, host string) string {
	u := url.URL{Host: strings.ToLower(host)}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// page is what the templates show.
type page struct {
	Request
	Title, Problem string
}

// ask shows who asks for what.
func (s *server) ask(w http.ResponseWriter, r *http.Request) {
	request, err := s.Lookup(r.Context(), r.PathValue("namespace"), r.PathValue("name"))
	if err != nil {
		s.failed(w, err)
		return
	}
	s.render(w, http.StatusOK, "ask", request.AuthorizationEndpoint, page{Request: request, Title: "May " + request.Application + " act for you?"})
}

// start sends the browser to the zone.
func (s *server) start(w http.ResponseWriter, r *http.Request) {
	request, err := s.Lookup(r.Context(), r.PathValue("namespace"), r.PathValue("name"))
	if err != nil {
		s.failed(w, err)
		return
	}
	target, err := url.Parse(request.AuthorizationEndpoint)
	if err != nil {
		s.failed(w, fmt.Errorf("parsing the authorization endpoint: %w", err))
		return
	}
	// The verifier is never shown to anybody: without it the code is of no use.
	state := rand.Text()
	challenge := sha256.Sum256([]byte(rand.Text() + rand.Text()))
	q := target.Query()
	for name, value := range map[string]string{
		"response_type": "code", "client_id": request.ClientID, "redirect_uri": RedirectURI(s.URL), "scope": "openid email",
		"state": state, "resource": request.Resource, "login_hint": request.User,
		"code_challenge": base64.RawURLEncoding.EncodeToString(challenge[:]), "code_challenge_method": "S256",
	} {
		q.Set(name, value)
	}
	target.RawQuery = q.Encode()
	s.setCookie(w, strings.Join([]string{state, request.Namespace, request.Name}, "/"), flowLifetime)
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, target.String(), http.StatusSeeOther)
}

// callback takes the browser back. The state has to be the one in its cookie
// (RFC 6749, section 10.12).
func (s *server) callback(w http.ResponseWriter, r *http.Request) {
	cookie, err := r.Cookie(s.cookie())
	var parts []string
	if err == nil {
		parts = strings.Split(cookie.Value, "/")
	}
	q := r.URL.Query()
	if len(parts) != 3 || subtle.ConstantTimeCompare([]byte(parts[0]), []byte(q.Get("state"))) != 1 {
		s.fail(w, http.StatusBadRequest, "This page has expired, was used already, or was opened in another browser. Open the link again.")
		return
	}
	s.setCookie(w, "", -1)
	request, err := s.Lookup(r.Context(), parts[1], parts[2])
	if err != nil {
		s.failed(w, err)
		return
	}
	if code := q.Get("error"); code != "" {
		s.Logger.Info("consent was not given", "namespace", request.Namespace, "name", request.Name, "code", printable(code))
		if s.Refused != nil {
			s.Refused(request.Namespace, request.Name, strings.TrimSuffix(printable(code)+": "+printable(q.Get("error_description")), ": "))
		}
		s.render(w, http.StatusOK, "refused", "", page{Request: request, Title: "Nothing was changed", Problem: printable(q.Get("error_description"))})
		return
	}
	if q.Get("code") == "" {
		// Without the zone's code nobody has been there: anybody can make a link to this page.
		s.fail(w, http.StatusBadRequest, "The zone sent neither consent nor a refusal. Open the link again.")
		return
	}
	s.Logger.Info("consent was given", "namespace", request.Namespace, "name", request.Name)
	s.Consented(request.Namespace, request.Name)
	s.render(w, http.StatusOK, "thanks", "", page{Request: request, Title: "Thank you"})
}

func (s *server) cookie() string {
	if s.URL.Scheme == "https" {
		return stateCookieHTTPS
	}
	return stateCookie
}

func (s *server) setCookie(w http.ResponseWriter, value string, age time.Duration) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure would lose the cookie where the page is at a loopback http address
		Name: s.cookie(), Value: value, Path: "/", MaxAge: int(age / time.Second),
		HttpOnly: true, Secure: s.URL.Scheme == "https", SameSite: http.SameSiteLaxMode,
	})
}

// printable keeps a text of the zone's fit for a page and a log.
func printable(text string) string {
	const most = 300
	if len(text) > most {
		text = text[:most]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}

func (s *server) failed(w http.ResponseWriter, err error) {
	if errors.Is(err, ErrUnknown) {
		s.fail(w, http.StatusNotFound, "Nobody asks for consent here. Check the link, or ask whoever sent it.")
		return
	}
	if errors.Is(err, ErrNotYet) {
		s.fail(w, http.StatusServiceUnavailable, "The zone is not ready for this yet. Try again in a minute.")
		return
	}
	s.Logger.Error(err, "serving the consent page")
	s.fail(w, http.StatusServiceUnavailable, "The zone can't be reached just now. Try again in a minute.")
}

func (s *server) fail(w http.ResponseWriter, status int, text string) {
	s.render(w, status, "refused", "", page{Title: "That did not work", Problem: text})
}

// render writes a page. Its form leads to the zone, which may send the browser on at once, to where she signs in or to
// the provider: nobody knows these addresses here, and Chromium holds redirects against form-action too.
func (s *server) render(w http.ResponseWriter, status int, name, zone string, p page) {
	targets := "'self'"
	if u, err := url.Parse(zone); err == nil && u.Host != "" {
		targets += " " + u.Scheme + ":"
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src '"+styleHash+"'; base-uri 'none'; frame-ancestors 'none'; form-action "+targets)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	// The status is out; a failed write means that the browser has gone.
	_ = pages.ExecuteTemplate(w, name+".html.tmpl", p)
}

// styleHash lets the pages' one style through, and no other.
var styleHash = func() string {
	var style strings.Builder
	if err := pages.ExecuteTemplate(&style, "style", nil); err != nil {
		panic("rendering an embedded style: " + err.Error())
	}
	sum := sha256.Sum256([]byte(style.String()))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}()
