// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// answers gives one answer to every request.
func answers(status int, contentType, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// siteFault is something that Atlassian answers to the question for the sites, and what is made of it.
type siteFault struct {
	answer http.HandlerFunc
	fault
	// again is true when the next attempt exchanges anew: the token itself is at fault.
	again bool
}

// passes is what is seen of a fault that is none of the token's.
func passes(answer http.HandlerFunc, says ...string) siteFault {
	return siteFault{answer: answer, fault: fault{
		reason: v1alpha1.ReasonAtlassianUnreachable, says: append(says, "retries"), soonest: world.FirstRetry, latest: world.LastRetry,
	}}
}

// needsHer is what is seen of a fault that the person has to mend.
func needsHer(answer http.HandlerFunc, reason string, says ...string) siteFault {
	return siteFault{answer: answer, again: true, fault: fault{
		reason: reason, says: append(says, "consent again"), stalled: true, soonest: world.SlowRetry, latest: world.Slowest,
	}}
}

func siteFaults(t *testing.T) map[string]siteFault {
	t.Helper()
	var followed atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	t.Cleanup(func() {
		elsewhere.Close()
		if n := followed.Load(); n > 0 {
			t.Errorf("a redirect was followed %d times", n)
		}
	})
	return map[string]siteFault{
		"hangs":            passes(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "timed out"),
		"hangs up":         passes(func(w http.ResponseWriter, r *http.Request) { world.Resets(w, r, "") }, "connection reset"),
		"breaks off":       passes(func(w http.ResponseWriter, r *http.Request) { world.Truncates(w, r, "") }),
		"400":              passes(answers(400, world.JSONType, `{"code":400,"message":"Bad Request"}`), "HTTP 400", "--atlassian-url"),
		"401":              needsHer(answers(401, world.JSONType, `{"code":401,"message":"Unauthorized"}`), v1alpha1.ReasonTokenUnusable, "HTTP 401"),
		"403":              needsHer(answers(403, world.JSONType, `{"code":403,"message":"Forbidden"}`), v1alpha1.ReasonTokenUnusable, "HTTP 403"),
		"404":              passes(answers(404, world.JSONType, `{"code":404,"message":"Not Found"}`), "HTTP 404", "--atlassian-url"),
		"500":              passes(answers(500, world.JSONType, `{}`), "HTTP 500"),
		"502 with a page":  passes(answers(502, "text/html", "<html>Bad gateway</html>"), "HTTP 502"),
		"503":              passes(answers(503, world.JSONType, `{}`), "HTTP 503"),
		"a page":           passes(answers(200, "text/html", "<html>Sign in</html>"), "text/html", "proxies"),
		"half a list":      passes(answers(200, world.JSONType, `[{"id":"1","url":`), "malformed JSON"),
		"an object":        passes(answers(200, world.JSONType, `{"id":"1"}`), "malformed JSON"),
		"nothing":          passes(answers(200, world.JSONType, ``), "empty body"),
		"8 MB":             passes(answers(200, world.JSONType, strings.Repeat("x", 8<<20)), "1 MiB"),
		"a redirect":       passes(answers(302, world.JSONType, ``, "Location", elsewhere.URL+"/?state=canary-message"), "redirects to host 127.0.0.1", "proxies"),
		"an empty list":    needsHer(answers(200, world.JSONType, `[]`), v1alpha1.ReasonNoAccessibleSites, "pick a site"),
		"null":             needsHer(answers(200, world.JSONType, `null`), v1alpha1.ReasonNoAccessibleSites, "pick a site"),
		"odd entries only": needsHer(answers(200, world.JSONType, world.OddSites), v1alpha1.ReasonNoAccessibleSites, "pick a site"),
		"429": {answer: answers(429, world.JSONType, `{"code":429,"message":"Rate limit exceeded"}`, "Retry-After", "120"), fault: fault{
			reason: v1alpha1.ReasonThrottled, says: []string{"Atlassian asks for a pause"}, soonest: 2 * time.Minute, latest: 2 * time.Minute,
		}},
	}
}

// Atlassian does not say which sites a token is good for. What is not the token's fault does not cost another one: it waits
// in memory, and the next attempt goes on with it.
func TestSiteFaults(t *testing.T) {
	for name, tc := range siteFaults(t) {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			resource, binding := w.Install(), w.Binding("reports")
			must.Succeed(t, w.K8s.Create(w.Ctx, resource))
			must.Succeed(t, w.K8s.Create(w.Ctx, binding))
			w.ReconcileResource(resource)
			w.Requests.Take()
			undo := w.Requests.Answer("accessible-resources", tc.answer)
			tc.condition, tc.status = v1alpha1.ConditionTokenIssued, metav1.ConditionFalse
			result := w.ReconcileBinding(binding)
			check(w, tc.fault, binding, result.RequeueAfter)
			// An unrelated event asks nobody; the second attempt is later than the first, or as late.
			w.ReconcileBinding(binding)
			if n := w.Requests.Count("accessible-resources"); n != 1 {
				t.Errorf("Atlassian was asked %d times during the pause", n)
			}
			w.Clock.Step(result.RequeueAfter)
			next := w.ReconcileBinding(binding).RequeueAfter
			if next < result.RequeueAfter*9/10 {
				t.Errorf("the wait after %s was %s", result.RequeueAfter, next)
			}
			undo()
			w.Clock.Step(next)
			w.ReconcileBinding(binding)
			w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
			w.Absent(binding, v1alpha1.ConditionStalled, v1alpha1.ConditionReconciling)
			want := 1
			if tc.again {
				want = 3
			}
			if n := w.Requests.Count(world.Exchanges); n != want {
				t.Errorf("%d exchanges, want %d", n, want)
			}
			w.Pages(w.Output(binding))
			w.NoCanaries("canary-message")
		})
	}
}

// Among odd entries the one that can be used is.
func TestOddSites(t *testing.T) {
	w := world.New(t)
	resource, binding := w.Install(), w.Binding("reports")
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	w.ReconcileResource(resource)
	w.Requests.Answer("accessible-resources", answers(200, world.JSONType, strings.TrimSuffix(world.OddSites, "]")+","+strings.TrimPrefix(world.OKSite, "[")))
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	if s := binding.Status.Site; s == nil || s.CloudID != "1" || s.URL != world.Site {
		t.Errorf("the site is %+v", s)
	}
}

// A token that waited for its site until it expired is not used: Atlassian would refuse it, and the person be blamed.
func TestSiteOutlivesTheToken(t *testing.T) {
	w := world.New(t, func(c *devzone.Config) { c.UpstreamTokenLifetime = 5 * time.Minute })
	resource, binding := w.Install(), w.Binding("reports")
	must.Succeed(t, w.K8s.Create(w.Ctx, resource))
	must.Succeed(t, w.K8s.Create(w.Ctx, binding))
	w.ReconcileResource(resource)
	w.Requests.Take()
	undo := w.Requests.Answer("accessible-resources", answers(503, world.JSONType, `{}`))
	attempts := 0
	for end := w.Clock.Now().Add(12 * time.Minute); w.Clock.Now().Before(end); attempts++ {
		wait := w.ReconcileBinding(binding).RequeueAfter
		w.Expect(binding, v1alpha1.ConditionTokenIssued, metav1.ConditionFalse, v1alpha1.ReasonAtlassianUnreachable)
		w.Clock.Step(wait)
	}
	if attempts > 20 {
		t.Errorf("%d attempts in twelve minutes", attempts)
	}
	undo()
	w.ReconcileBinding(binding)
	w.Expect(binding, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.Pages(w.Output(binding))
	if n := w.Requests.Count(world.Exchanges); n > 3 {
		t.Errorf("%d exchanges in two and a half lives", n)
	}
	w.NoCanaries()
}
