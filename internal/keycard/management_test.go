// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycard_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/redacted"
)

// numbered hands out management-token-1, -2 and so on, each for the given lifetime.
func numbered(expiresIn string) (handler http.HandlerFunc, count *atomic.Int64) {
	count = &atomic.Int64{}
	return func(w http.ResponseWriter, r *http.Request) {
		token := "management-token-" + strconv.FormatInt(count.Add(1), 10)
		answer(200, tokenAnswer(token, expiresIn))(w, r)
	}, count
}

func TestServiceAccountTokenRequest(t *testing.T) {
	g := NewWithT(t)
	s := newAPI(t)
	s.on("GET /zones/z1", answer(200, `{"id":"z1"}`))
	_, err := management(t, s, options()).GetZone(context.Background(), "z1")
	g.Expect(err).NotTo(HaveOccurred())

	got := s.requests(accountPath)
	g.Expect(got).To(HaveLen(1))
	g.Expect(got[0].method).To(Equal("POST"))
	g.Expect(got[0].form(t)).To(Equal(url.Values{"grant_type": {"client_credentials"}}))
	g.Expect(got[0].header.Get("Content-Type")).To(Equal("application/x-www-form-urlencoded"))
	g.Expect(got[0].header.Get("Authorization")).To(Equal("Basic " + base64.StdEncoding.EncodeToString([]byte("sa-1:"+clientSecret))))
	g.Expect(s.requests("/zones/z1")[0].header.Get("Authorization")).To(Equal("Bearer " + managementToken))
}

func TestServiceAccountTokenIsCachedUntilShortlyBeforeExpiry(t *testing.T) {
	tests := map[string]struct {
		expiresIn string
		goodFor   time.Duration
	}{
		"an hour: 10 s early":        {"3600", 3590 * time.Second},
		"50 s: a tenth early":        {"50", 45 * time.Second},
		"100 s: both rules agree":    {"100", 90 * time.Second},
		"unknown: taken as a minute": {"null", 54 * time.Second},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := newServer(t)
			handler, count := numbered(tc.expiresIn)
			s.on("POST "+accountPath, handler)
			c := newClock()
			o := options()
			o.Now = c.now
			m := management(t, s, o)
			for range 3 {
				g.Expect(m.CheckCredentials(context.Background())).To(Succeed())
			}
			c.advance(tc.goodFor - time.Millisecond)
			g.Expect(m.CheckCredentials(context.Background())).To(Succeed())
			g.Expect(count.Load()).To(BeEquivalentTo(1), "still good")
			c.advance(time.Millisecond)
			g.Expect(m.CheckCredentials(context.Background())).To(Succeed())
			g.Expect(count.Load()).To(BeEquivalentTo(2), "renewed")
		})
	}
}

func TestServiceAccountTokenIsFetchedOnce(t *testing.T) {
	g := NewWithT(t)
	s := newServer(t)
	release := make(chan struct{})
	handler, count := numbered("3600")
	s.on("POST "+accountPath, func(w http.ResponseWriter, r *http.Request) {
		<-release
		handler(w, r)
	})
	s.on("GET /zones/z1", answer(200, `{"id":"z1"}`))
	m := management(t, s, options())

	var started, done sync.WaitGroup
	errs := make(chan error, 32)
	for range cap(errs) {
		started.Add(1)
		done.Go(func() {
			started.Done()
			_, err := m.GetZone(context.Background(), "z1")
			errs <- err
		})
	}
	started.Wait()
	close(release)
	done.Wait()
	close(errs)
	for err := range errs {
		g.Expect(err).NotTo(HaveOccurred())
	}
	g.Expect(count.Load()).To(BeEquivalentTo(1))
}

func TestACancelledCallerDoesNotFailTheOthers(t *testing.T) {
	g := NewWithT(t)
	s := newServer(t)
	entered, release := make(chan struct{}), make(chan struct{})
	handler, count := numbered("3600")
	s.on("POST "+accountPath, func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		handler(w, r)
	})
	m := management(t, s, options())

	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan error, 1)
	go func() { first <- m.CheckCredentials(ctx) }()
	<-entered
	cancel()
	err := <-first
	g.Expect(errors.Is(err, context.Canceled)).To(BeTrue())
	g.Expect(mustError(t, err)).To(MatchError("getting a management API token: cancelled"))

	second := make(chan error, 1)
	go func() { second <- m.CheckCredentials(context.Background()) }()
	close(release)
	g.Expect(<-second).To(Succeed())
	g.Expect(count.Load()).To(BeEquivalentTo(1), "the fetch that the first caller began served the second")
}

func TestServiceAccountErrorsAreNotCached(t *testing.T) {
	g := NewWithT(t)
	s := newServer(t)
	s.on("POST "+accountPath, inTurn(
		answer(401, `{"error":"invalid_client","error_description":"wrong secret"}`),
		answer(200, `{"access_token":"bad token"}`),
		answer(200, tokenAnswer(managementToken, "3600")),
	))
	m := management(t, s, options())
	err := m.CheckCredentials(context.Background())
	g.Expect(err).To(MatchError("getting a management API token: invalid_client: wrong secret"))
	g.Expect(keycard.ClassOf(err)).To(Equal(keycard.Misconfigured))
	g.Expect(m.CheckCredentials(context.Background())).To(MatchError(keycard.ErrTokenUnusable))
	g.Expect(m.CheckCredentials(context.Background())).To(Succeed())
	g.Expect(s.requests(accountPath)).To(HaveLen(3), "a refused credential is not tried twice in one call")
}

func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	unauthorized := answer(401, `{"message":"token expired","code":"unauthorized","status":401}`)
	t.Run("then accepted", func(t *testing.T) {
		g := NewWithT(t)
		s := newServer(t)
		handler, count := numbered("3600")
		s.on("POST "+accountPath, handler)
		s.on("POST /zones/z1/resources", inTurn(unauthorized, answer(200, `{"id":"r1"}`)))
		m := management(t, s, options())
		r, err := m.CreateResource(context.Background(), "z1", keycard.ResourceCreate{Identifier: "i", Name: "n"})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(r.ID).To(Equal("r1"))
		g.Expect(count.Load()).To(BeEquivalentTo(2))
		got := s.requests("/zones/z1/resources")
		g.Expect(got).To(HaveLen(2))
		g.Expect(got[0].header.Get("Authorization")).To(Equal("Bearer management-token-1"))
		g.Expect(got[1].header.Get("Authorization")).To(Equal("Bearer management-token-2"))
		g.Expect(got[1].body).To(Equal(got[0].body), "the body is sent again")
	})
	t.Run("then refused again", func(t *testing.T) {
		g := NewWithT(t)
		s := newServer(t)
		handler, count := numbered("3600")
		s.on("POST "+accountPath, handler)
		s.on("GET /zones/z1", unauthorized)
		_, err := management(t, s, options()).GetZone(context.Background(), "z1")
		g.Expect(mustError(t, err).Class).To(Equal(keycard.Misconfigured))
		g.Expect(count.Load()).To(BeEquivalentTo(2))
		g.Expect(s.requests("/zones/z1")).To(HaveLen(2))
	})
	t.Run("and no replacement", func(t *testing.T) {
		g := NewWithT(t)
		s := newServer(t)
		s.on("POST "+accountPath, inTurn(answer(200, tokenAnswer(managementToken, "3600")), answer(500, `{}`)))
		s.on("GET /zones/z1", unauthorized)
		_, err := management(t, s, options()).GetZone(context.Background(), "z1")
		g.Expect(err).To(MatchError("getting a management API token: HTTP 500"))
		g.Expect(keycard.ClassOf(err)).To(Equal(keycard.Transient))
	})
}

func TestConcurrentRefusalsShareOneReplacement(t *testing.T) {
	g := NewWithT(t)
	s := newServer(t)
	handler, count := numbered("3600")
	s.on("POST "+accountPath, handler)
	s.on("GET /zones/z1", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer management-token-1" {
			answer(401, `{"message":"revoked"}`)(w, r)
			return
		}
		answer(200, `{"id":"z1"}`)(w, r)
	})
	m := management(t, s, options())
	var done sync.WaitGroup
	errs := make(chan error, 16)
	for range cap(errs) {
		done.Go(func() {
			_, err := m.GetZone(context.Background(), "z1")
			errs <- err
		})
	}
	done.Wait()
	close(errs)
	for err := range errs {
		g.Expect(err).NotTo(HaveOccurred())
	}
	g.Expect(count.Load()).To(BeEquivalentTo(2), "a late refusal of the old token must not drop the new one")
}

func TestManagementConfigIsChecked(t *testing.T) {
	pool := newPool(t, options())
	for name, tc := range map[string]struct {
		cfg     keycard.ManagementConfig
		problem string
	}{
		"client id":     {keycard.ManagementConfig{BaseURL: "https://a", ClientSecret: redacted.New("x")}, "the client id is empty"},
		"client secret": {keycard.ManagementConfig{BaseURL: "https://a", ClientID: "x"}, "the client secret is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			_, err := pool.Management(tc.cfg)
			g.Expect(err).To(MatchError("configuring the management API client: " + tc.problem))
			g.Expect(keycard.ClassOf(err)).To(Equal(keycard.Misconfigured))
		})
	}
}

func TestPathsAreEscapedAndChecked(t *testing.T) {
	g := NewWithT(t)
	s := newAPI(t)
	s.on("", answer(200, `{"id":"x"}`))
	m := management(t, s, options())
	ctx := context.Background()

	_, err := m.GetProvider(ctx, "z/1?x#y", "../p 1%2F")
	g.Expect(err).NotTo(HaveOccurred())
	all := s.requests("")
	g.Expect(all[len(all)-1].path).To(Equal("/zones/z%2F1%3Fx%23y/providers/..%2Fp%201%252F"))

	before := len(s.requests(""))
	for _, id := range []string{"", ".", ".."} {
		_, err := m.GetZone(ctx, id)
		g.Expect(mustError(t, err).Class).To(Equal(keycard.Misconfigured))
		g.Expect(err).To(MatchError(ContainSubstring("an id in the request is empty or not an id")))
		_, err = m.GetResource(ctx, "z1", id)
		g.Expect(err).To(HaveOccurred())
		g.Expect(m.DeleteProvider(ctx, "z1", id)).NotTo(Succeed(), "deleting everything by an empty id")
		g.Expect(m.PutDependency(ctx, "z1", id, "r1")).NotTo(Succeed())
	}
	g.Expect(s.requests("")).To(HaveLen(before), "nothing was sent")
}

func TestBasePathIsKept(t *testing.T) {
	g := NewWithT(t)
	s := newServer(t)
	s.on("POST /keycard/service-account-token", answer(200, tokenAnswer(managementToken, "60")))
	s.on("GET /keycard/zones/z1", answer(200, `{"id":"z1"}`))
	m, err := newPool(t, options()).Management(keycard.ManagementConfig{
		BaseURL: s.URL + "/keycard/", ClientID: "a", ClientSecret: redacted.New(clientSecret),
	})
	g.Expect(err).NotTo(HaveOccurred())
	_, err = m.GetZone(context.Background(), "z1")
	g.Expect(err).NotTo(HaveOccurred())
}

// A credential that form-encoding would change goes into the form: servers do not agree on whether the Authorization header
// has it encoded.
func TestSpecialCharactersInClientCredentials(t *testing.T) {
	tests := map[string]struct {
		id, secret string
		inForm     bool
	}{
		"plain":                {"app-1", "a.b_c~d", false},
		"an address as the id": {"reports@team", "secret", true},
		"colon":                {"urn:app:1", "se:cret", true},
		"base64":               {"app", "c+d/e=", true},
		"percent":              {"100%", "%41", true},
		"space":                {"my app", "pass word", true},
		"unicode":              {"ünï", "pässwörd☃", true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := newZone(t)
			s.on("POST "+tokenPath, answer(200, tokenAnswer(issuedToken, "60")))
			s.on("POST "+accountPath, answer(200, tokenAnswer(managementToken, "60")))
			s.on("GET /zones/z1", answer(200, `{"id":"z1"}`))
			r := exchangeRequest()
			r.ClientAuth = keycard.ClientSecretBasic{ClientID: tc.id, ClientSecret: redacted.New(tc.secret)}
			_, err := zoneClient(t, s, options()).Exchange(context.Background(), r)
			g.Expect(err).NotTo(HaveOccurred())
			m, err := newPool(t, options()).Management(keycard.ManagementConfig{BaseURL: s.URL, ClientID: tc.id, ClientSecret: redacted.New(tc.secret)})
			g.Expect(err).NotTo(HaveOccurred())
			_, err = m.GetZone(context.Background(), "z1")
			g.Expect(err).NotTo(HaveOccurred())

			for _, path := range []string{tokenPath, accountPath} {
				sent := s.requests(path)[0]
				header, form := "Basic "+base64.StdEncoding.EncodeToString([]byte(tc.id+":"+tc.secret)), url.Values{}
				if tc.inForm {
					header, form = "", url.Values{"client_id": {tc.id}, "client_secret": {tc.secret}}
				}
				g.Expect(sent.header.Get("Authorization")).To(Equal(header), path)
				for _, name := range []string{"client_id", "client_secret"} {
					g.Expect(sent.form(t)[name]).To(Equal(form[name]), path)
				}
			}
		})
	}
}

func TestFindDependency(t *testing.T) {
	g := NewWithT(t)
	s := newAPI(t)
	ctx := context.Background()
	s.on("GET /zones/z1/applications/a1/dependencies/r1", answer(200, `{"id":"r1","when_accessing":["r2"]}`))
	s.on("GET /zones/z1/applications/a1/dependencies/r2", answer(404, `{"message":"not found","code":"not_found","status":404}`))
	r, found, err := management(t, s, options()).FindDependency(ctx, "z1", "a1", "r1")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(found).To(BeTrue())
	g.Expect(r.WhenAccessing).To(Equal([]string{"r2"}))
	_, found, err = management(t, s, options()).FindDependency(ctx, "z1", "a1", "r2")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(found).To(BeFalse())
}

// What to do about a refusal depends on who was refused: a service account, or an application.
func TestErrorsOfTheManagementAPISaySo(t *testing.T) {
	no := answer(403, `{"code":"forbidden","message":"no"}`)
	tests := map[string]struct {
		account, zone http.HandlerFunc
	}{
		"the service account":  {no, nil},
		"no token":             {answer(200, `{}`), nil},
		"a token that is none": {answer(200, `{"access_token":"a b"}`), nil},
		"a call":               {answer(200, tokenAnswer(managementToken, "3600")), no},
		"a page":               {answer(200, tokenAnswer(managementToken, "3600")), answer(200, `<html>`)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.on("POST "+accountPath, tc.account)
			if tc.zone != nil {
				s.on("GET /zones/z1", tc.zone)
			}
			_, err := management(t, s, options()).GetZone(t.Context(), "z1")
			if e := mustError(t, err); !e.Management {
				t.Errorf("%v does not say so", e)
			}
		})
	}
	s := newZone(t)
	s.on("POST "+tokenPath, no)
	if _, err := exchange(zoneClient(t, s, options())); mustError(t, err).Management {
		t.Errorf("%v is not of the management API", err)
	}
}
