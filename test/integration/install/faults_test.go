// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers/keycardresource"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/internal/catalog"
	"github.com/keycardai/keycard-operator/internal/index"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// verdict is what the operator is to make of a failed call.
type verdict struct {
	// reason is that of Ready; none when the call counts as done.
	reason string
	// remedy is a part of the message of what a person has to mend; it stalls the install.
	remedy string
	// soonest is the least time until the next attempt; zero when a watch reports the end.
	soonest time.Duration
}

var (
	done        = verdict{}
	unreachable = verdict{reason: v1alpha1.ReasonZoneUnreachable, soonest: world.FirstRetry}
	throttledBy = verdict{reason: v1alpha1.ReasonThrottled, soonest: 90 * time.Second}
	raced       = verdict{reason: v1alpha1.ReasonProgressingWithRetry, soonest: world.FirstRetry}
	rejected    = verdict{reason: v1alpha1.ReasonRequestRejected, remedy: "Check ", soonest: world.SlowRetry}
	refused     = verdict{reason: v1alpha1.ReasonClientRejected, remedy: "Check its client id and client secret", soonest: world.SlowRetry}
	denied      = verdict{reason: v1alpha1.ReasonAccessDenied, remedy: "Ask the zone's administrator", soonest: world.SlowRetry}
	noZone      = verdict{reason: v1alpha1.ReasonRequestRejected, remedy: "Correct spec.zone.id", soonest: world.SlowRetry}
	badPolicy   = verdict{reason: v1alpha1.ReasonPolicyInvalid, remedy: "Correct it; what was in force stays in force", soonest: world.SlowRetry}
)

// remoteFault is one thing that the management API does in the place of its answer.
type remoteFault struct {
	name string
	// served is true when the request has its effect all the same.
	served bool
	answer func(w http.ResponseWriter, r *http.Request, echo string)
	want   verdict
}

// The faults; each is put on each call, but for the slow hang.
var remoteFaults = []remoteFault{
	{name: "400", answer: status(http.StatusBadRequest), want: rejected},
	{name: "401", answer: status(http.StatusUnauthorized), want: refused},
	{name: "403", answer: status(http.StatusForbidden), want: denied},
	{name: "404", answer: status(http.StatusNotFound), want: rejected},
	{name: "409", answer: status(http.StatusConflict), want: raced},
	{name: "422", answer: status(http.StatusUnprocessableEntity), want: rejected},
	{name: "429", answer: status(http.StatusTooManyRequests), want: throttledBy},
	{name: "500", answer: status(http.StatusInternalServerError), want: unreachable},
	{name: "lost", answer: world.Resets, served: true, want: unreachable},
	{name: "truncated", answer: world.Truncates, served: true, want: unreachable},
	{name: "object", answer: says(`{"id":7}`), served: true, want: unreachable},
	{name: "hang", answer: hangs, want: unreachable},
}

// The calls that hang, one of each kind: it takes the client's whole timeout.
var hanging = regexp.MustCompile(`^(install (POST service-account-token|GET zone|POST resources .*|PATCH .*)|delete DELETE (resources/.*|policies/.*))$`)

// faultExceptions are calls whose failure means something else than it does elsewhere; the first that fits counts.
var faultExceptions = []struct {
	// on fits the phase and the call, faults the fault.
	on, faults string
	want       verdict
	why        string
}{
	{`DELETE`, `^404$`, done, "what is gone is deleted"},
	{`GET applications/.*/dependencies/`, `^404$`, done, "it says that there is no such dependency"},
	{`(DELETE|PUT) `, `^object$`, done, "nobody reads what is in the answer to a success"},
	{`GET zone|POST service-account-token`, `^404$`, noZone, "the service account sees no such zone"},
	{`POST policies/.*/versions`, `^(400|422)$`, badPolicy, "the zone refuses the text: the spec has to change"},
	{`POST service-account-token`, `^409$`, rejected, "a token is no object that somebody else made"},
	{`(GET|PATCH|PUT|DELETE) `, `^409$`, rejected, "nothing is created"},
}

// knownCalls are what the phases make at least: one that is no longer among them is no longer tested.
var knownCalls = []string{
	"install POST service-account-token", "install GET zone",
	"install GET providers https://auth.*", "install POST providers https://auth.*", "update PATCH providers/https://auth.*", "delete DELETE providers/https://auth.*",
	"install GET providers https://kube.*", "install POST providers https://kube.*", "update PATCH providers/https://kube.*", "delete DELETE providers/https://kube.*",
	"install GET resources .*", "install POST resources .*", "update PATCH resources/.*", "delete DELETE resources/.*",
	"install GET applications reports", "install GET applications/reports/dependencies/.*", "update DELETE applications/reports/dependencies/.*",
	"install GET applications urn:.*", "install POST applications urn:.*", "install PUT applications/urn:.*/dependencies/.*", "delete DELETE applications/urn:[^/]*",
	"delete GET applications/urn:.*/dependencies", "delete DELETE applications/urn:.*/dependencies/.*",
	"install GET application-credentials .*", "install POST application-credentials", "delete DELETE application-credentials/.*",
	"install GET policies", "install POST policies .*", "install POST policies/.*/versions", "update GET policies/.*/versions/.*", "delete DELETE policies/.*",
	"install GET policy-sets", "install GET policy-sets #2", "install GET policy-sets/.*/versions/.*", "install POST policy-sets .*",
	"install POST policy-sets/.*/versions", "install PATCH policy-sets/.*/versions/.*", "delete PATCH policy-sets/.*/versions/.*",
}

func verdictOn(call string, f remoteFault) verdict {
	for _, e := range faultExceptions {
		if regexp.MustCompile(e.on).MatchString(call) && regexp.MustCompile(e.faults).MatchString(f.name) {
			return e.want
		}
	}
	return f.want
}

// status answers with an error that gives the request back, credentials and all.
func status(code int) func(http.ResponseWriter, *http.Request, string) {
	name := strings.ToLower(strings.ReplaceAll(http.StatusText(code), " ", "_"))
	return func(w http.ResponseWriter, _ *http.Request, echo string) {
		w.Header().Set("Content-Type", "application/json")
		if code == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "90")
		}
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]any{"message": name + " for " + echo, "code": name, "status": code})
	}
}

func says(body string) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, _ *http.Request, _ string) { world.WriteJSON(w, body) }
}

func hangs(_ http.ResponseWriter, r *http.Request, _ string) { <-r.Context().Done() }

// tap names the calls of the management API, and breaks one of them.
type tap struct {
	mu sync.Mutex
	// names are what objects are called, by their ids.
	names map[string]string
	// counts are how often each call was made in this attempt, and seen which, in order.
	counts map[string]int
	seen   []string
	// broken is the call that fails, and hits how often it did.
	broken string
	fault  *remoteFault
	hits   int
	// credentials are those that requests carried.
	credentials []string
	// made is true once an object was created.
	made bool
}

// named is what tells objects apart, in requests and in answers.
type named struct {
	ID           string  `json:"id"`
	Identifier   string  `json:"identifier"`
	Name         string  `json:"name"`
	ClientSecret string  `json:"client_secret"`
	Items        []named `json:"items"`
}

func (p *tap) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		f := p.note(r, body)
		held := httptest.NewRecorder()
		if f == nil || f.served || r.Method == http.MethodDelete && f.name == "404" {
			next.ServeHTTP(held, r)
			p.learn(r, held)
		}
		if f != nil {
			var o named
			_ = json.Unmarshal(body, &o) // the secret comes first, because long messages are cut
			f.answer(w, r, strings.Join([]string{o.ClientSecret, r.Header.Get("Authorization"), string(body)}, " "))
			return
		}
		maps.Copy(w.Header(), held.Header())
		w.WriteHeader(held.Code)
		_, _ = w.Write(held.Body.Bytes())
	})
}

// note counts a call, and gives its fault.
func (p *tap) note(r *http.Request, body []byte) *remoteFault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, credential, _ := strings.Cut(r.Header.Get("Authorization"), " "); credential != "" && !slices.Contains(p.credentials, credential) {
		p.credentials = append(p.credentials, credential)
	}
	call := p.name(r, body)
	p.counts[call]++
	n := p.counts[call]
	p.seen = append(p.seen, numbered(call, n))
	// A call that is made again at once, such as with another token, is broken too.
	if p.fault == nil || !slices.ContainsFunc(p.seen, func(s string) bool { return s == p.broken }) || p.broken != call && !strings.HasPrefix(p.broken, call+" #") {
		return nil
	}
	p.hits++
	return p.fault
}

func numbered(call string, n int) string {
	if n == 1 {
		return call
	}
	return fmt.Sprintf("%s #%d", call, n)
}

// name names a call: "METHOD collection/object of what is asked for".
func (p *tap) name(r *http.Request, body []byte) string {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if parts[0] != "zones" {
		return r.Method + " " + parts[0]
	}
	if len(parts) == 2 {
		return r.Method + " zone"
	}
	parts = parts[2:]
	for i := 1; i < len(parts); i += 2 {
		parts[i] = cmp.Or(p.names[parts[i]], "*")
	}
	var o named
	_ = json.Unmarshal(body, &o)
	q := r.URL.Query()
	of := cmp.Or(o.Identifier, q.Get("identifier"), p.names[q.Get("applicationId")])
	if r.Method == http.MethodPost {
		of = cmp.Or(of, o.Name)
	}
	return strings.TrimSpace(r.Method + " " + strings.Join(parts, "/") + " " + of)
}

// learn remembers what the objects in an answer are called.
func (p *tap) learn(r *http.Request, a *httptest.ResponseRecorder) {
	var o named
	if a.Code >= http.StatusMultipleChoices || json.Unmarshal(a.Body.Bytes(), &o) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range append(o.Items, o) {
		if name := cmp.Or(o.Identifier, o.Name); o.ID != "" && name != "" {
			p.names[o.ID] = name
		}
	}
	p.made = p.made || r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/zones/")
}

// breaks puts a fault on a call; no fault undoes that.
func (p *tap) breaks(call string, f *remoteFault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken, p.fault = call, f
}

// hit is how often the broken call was made in this attempt.
func (p *tap) hit() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hits
}

// hasMade tells whether an object was created.
func (p *tap) hasMade() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made
}

// carried are the credentials that requests carried.
func (p *tap) carried() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.credentials)
}

// begin begins an attempt, and gives the calls of the last one.
func (p *tap) begin() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen, p.counts, p.hits = nil, map[string]int{}, 0
	return seen
}

// faulty is a world of its own for one install and one fault. Its cluster is in memory, because it is the zone that
// fails, hundreds of times: TestInstallFaults and TestRandomLives have the real one.
type faulty struct {
	*world.World
	tap      *tap
	entries  catalog.Catalog
	resource *v1alpha1.KeycardResource
}

func newFaulty(t *testing.T) *faulty {
	t.Helper()
	entries, err := catalog.Load()
	must.Succeed(t, err)
	s := runtime.NewScheme() // a small one: the fake client goes through all of it at each write
	must.Succeed(t, corev1.AddToScheme(s))
	must.Succeed(t, v1alpha1.AddToScheme(s))
	w := &faulty{
		World: &world.World{
			T: t, NS: "faults", Clock: clocktesting.NewFakeClock(time.Now().Truncate(time.Second)),
			Requests: &world.Recorder{}, Writes: &world.Recorder{}, Events: &world.Events{}, Logs: &world.SyncBuffer{},
			K8s: fake.NewClientBuilder().WithScheme(s).WithStatusSubresource(&v1alpha1.KeycardResource{}).
				WithIndex(&v1alpha1.ConfluenceTokenBinding{}, index.Install, index.InstallOf).Build(),
		},
		tap: &tap{names: map[string]string{}, counts: map[string]int{}}, entries: entries,
	}
	w.Ctx = logr.NewContext(t.Context(), w.Logger())
	w.StartZone(func(c *devzone.Config) { c.APIMiddleware = w.tap.middleware })
	w.restart()
	w.Secret("service-account", "operator", world.OperatorSecret)
	w.Secret("oauth-app", "atlassian-app", world.AtlassianSecret)
	return w
}

// restart makes the reconciler anew.
func (w *faulty) restart() {
	w.Resources = keycardresource.New(keycardresource.Deps{
		Client: w.K8s, Live: w.K8s, Catalog: w.entries, ClusterID: world.ClusterID, Recorder: w.Events, Clock: w.Clock, CheckEvery: 10 * time.Minute,
		Zones:         keycard.NewPool(keycard.Options{AllowInsecureLoopback: true, Now: w.Clock.Now, Timeout: 5 * time.Second, ResponseHeaderTimeout: time.Second}),
		ClusterIssuer: func(context.Context) (string, error) { return world.ClusterIssuer, nil },
	})
}

// attempt is one reconcile.
func (w *faulty) attempt() ctrl.Result {
	w.T.Helper()
	w.tap.begin()
	return w.ReconcileResource(w.resource)
}

// bind makes a binding for a ServiceAccount.
func (w *faulty) bind(serviceAccount string) {
	w.T.Helper()
	b := w.Binding(serviceAccount)
	b.Spec.Application = v1alpha1.Application{ServiceAccountName: serviceAccount}
	must.Succeed(w.T, w.K8s.Create(w.Ctx, b))
}

func (w *faulty) unbind() {
	w.T.Helper()
	must.Succeed(w.T, w.K8s.DeleteAllOf(w.Ctx, &v1alpha1.ConfluenceTokenBinding{}, client.InNamespace(w.NS)))
}

// faultPhases are what an install goes through. Each begins with a change in the cluster, and takes one reconcile when
// nothing fails.
var faultPhases = map[string]func(*faulty){
	"install": (*faulty).begin,
	"update": func(w *faulty) {
		w.begin()
		w.complete()
		w.restart()
		w.unbind()
		w.bind("search")
		world.SetKey("oauth-app", v1alpha1.ClientSecretKey, []byte("canary-rotated-secret"))(w.World)
		r := w.resource
		r.Generation++
		r.Spec.Applications, r.Spec.WorkloadRegistration.JWKSURI = nil, "https://kubernetes.example/keys"
		r.Spec.Scopes = &v1alpha1.ScopeSelection{Add: []v1alpha1.Scope{"search:confluence"}}
		r.Spec.Policies[0].Cedar = "permit (principal is Keycard::User, action, resource);"
		must.Succeed(w.T, w.K8s.Update(w.Ctx, r))
	},
	"delete": func(w *faulty) {
		w.begin()
		w.complete()
		w.restart()
		w.remove()
	},
}

// begin creates an install that does all an install can do.
func (w *faulty) begin() {
	w.T.Helper()
	w.resource = w.Install()
	w.resource.Generation = 1 // which the API server counts
	w.resource.Spec.DeletionPolicy = v1alpha1.DeletionDelete
	w.resource.Spec.Applications = []v1alpha1.ApplicationReference{{Identifier: "reports"}}
	w.resource.Spec.WorkloadRegistration = &v1alpha1.WorkloadRegistration{}
	w.resource.Spec.Policies = []v1alpha1.AccessPolicy{{Name: "all", Cedar: "permit (principal, action, resource);"}}
	must.Succeed(w.T, w.K8s.Create(w.Ctx, w.resource))
	w.bind("wiki")
}

// complete reconciles once, which has to be enough, and looks at what is in the zone.
func (w *faulty) complete() {
	w.T.Helper()
	w.attempt()
	w.Expect(w.resource, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.Absent(w.resource, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled)
	if want, got := (census{1, 1, 1, 1, 1, 1, 1, 1, 0}), w.census(); got != want {
		w.T.Errorf("the zone has %+v, want %+v", got, want)
	}
}

// remove deletes the bindings and then the install.
func (w *faulty) remove() {
	w.T.Helper()
	w.unbind()
	must.Succeed(w.T, w.K8s.Delete(w.Ctx, w.resource))
	must.Succeed(w.T, w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(w.resource), w.resource))
	w.Clock.SetTime(w.resource.DeletionTimestamp.Time)
}

// census counts what the operator has in the zone.
type census struct {
	providers, clusters, resources, workloads, credentials, dependencies, policies, inForce int
	// moreSets are policy sets of the operator beyond the one that it keeps.
	moreSets int
}

func (w *faulty) census() (c census) {
	w.T.Helper()
	admin, zone := w.Admin(), w.Zone.ZoneID
	_, err := admin.ListProviders(w.Ctx, zone, func(p keycard.Provider) bool {
		c.providers += count(p.Identifier == world.ProviderIdentifier || strings.Contains(p.Description, "/confluence]"))
		c.clusters += count(p.Identifier == world.ClusterIssuer || strings.Contains(p.Description, " cluster]"))
		return false
	})
	must.Succeed(w.T, err)
	_, found, err := admin.FindResource(w.Ctx, zone, world.ResourceIdentifier) // which fails when there are two
	must.Succeed(w.T, err)
	c.resources = count(found)
	apps, err := admin.ListApplications(w.Ctx, zone, func(a keycard.Application) bool { return strings.Contains(a.Description, " workload]") })
	must.Succeed(w.T, err)
	for _, app := range apps {
		c.workloads++
		credentials, err := admin.ListApplicationCredentials(w.Ctx, zone, app.ID)
		must.Succeed(w.T, err)
		c.credentials += len(credentials)
		dependencies, err := admin.ListDependencies(w.Ctx, zone, app.ID)
		must.Succeed(w.T, err)
		c.dependencies += len(dependencies)
	}
	ours := map[string]bool{}
	_, err = admin.ListPolicies(w.Ctx, zone, func(p keycard.Policy) bool {
		if strings.Contains(p.Description, "/confluence]") {
			ours[p.ID] = true
			c.policies += count(p.ArchivedAt == "")
		}
		return false
	})
	must.Succeed(w.T, err)
	own := 0
	sets, err := admin.ListPolicySets(w.Ctx, zone, func(s keycard.PolicySet) bool {
		own += count(s.Name == "keycard-operator" && s.ArchivedAt == "")
		return s.Active
	})
	c.moreSets = max(0, own-1)
	must.Succeed(w.T, err)
	for _, set := range sets {
		version, err := admin.GetPolicySetVersion(w.Ctx, zone, set.ID, set.ActiveVersionID)
		must.Succeed(w.T, err)
		for _, e := range version.Manifest.Entries {
			c.inForce += count(ours[e.PolicyID])
		}
	}
	return c
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// healthyCalls are the calls of each phase when nothing fails, as "phase METHOD what".
func healthyCalls(t *testing.T) (calls []string) {
	t.Helper()
	shapes := map[string]bool{}
	shape := regexp.MustCompile(`(/)[^/ ]+| .*$`)
	for _, phase := range []string{"install", "update", "delete"} {
		w := newFaulty(t)
		faultPhases[phase](w)
		w.attempt()
		for _, call := range w.tap.begin() {
			method, what, _ := strings.Cut(call, " ")
			s := method + " " + shape.ReplaceAllString(what, "$1")
			if phase == "update" && shapes[s] {
				continue // an update fails as an install does
			}
			if phase == "install" {
				shapes[s] = true
			}
			calls = append(calls, phase+" "+call)
		}
	}
	return calls
}

// Whatever the zone answers to whichever call of an install, it is said, tried again in time, and over when its cause
// is: with one object of each kind, and with none once the install is deleted.
func TestInstallFaultsOnEachCall(t *testing.T) {
	calls := healthyCalls(t)
	for _, known := range knownCalls {
		if !slices.ContainsFunc(calls, regexp.MustCompile("^"+known+"$").MatchString) {
			t.Errorf("no healthy run makes the call %s", known)
		}
	}
	t.Logf("%d calls:\n%s", len(calls), strings.Join(calls, "\n"))
	for _, call := range calls {
		t.Run(strings.ReplaceAll(call, "/", "|"), func(t *testing.T) {
			t.Parallel()
			for _, f := range remoteFaults {
				if f.name == "hang" && !hanging.MatchString(call) {
					continue
				}
				t.Run(f.name, func(t *testing.T) {
					w := newFaulty(t)
					phase, what, _ := strings.Cut(call, " ")
					faultPhases[phase](w)
					w.tap.breaks(what, &f)
					if phase == "delete" {
						w.failDeletion(verdictOn(call, f), f)
					} else {
						w.failInstall(verdictOn(call, f), f)
						w.remove()
					}
					w.gone()
				})
			}
		})
	}
}

// failInstall lets an install fail, and get over it.
func (w *faulty) failInstall(want verdict, f remoteFault) {
	w.T.Helper()
	for i := range attempts(f) {
		result := w.attempt()
		if i == 0 && w.tap.hit() == 0 {
			w.T.Fatal("the call was not made")
		}
		ready := w.tap.hit() == 0
		if want == done || ready && f.served {
			break // what had its effect is found by the next attempt
		}
		w.check(want, result.RequeueAfter)
		w.Clock.Step(result.RequeueAfter)
	}
	w.tap.breaks("", nil)
	w.complete()
}

// attempts are how often the operator runs into a fault.
func attempts(f remoteFault) int {
	if f.name == "hang" {
		return 1
	}
	return 3
}

// check looks at an install that failed.
func (w *faulty) check(want verdict, wait time.Duration) {
	w.T.Helper()
	message := w.Expect(w.resource, v1alpha1.ConditionReady, metav1.ConditionFalse, want.reason)
	if !strings.Contains(message, want.remedy) {
		w.T.Errorf("the message has no remedy: %s", message)
	}
	if want.remedy != "" {
		w.Expect(w.resource, v1alpha1.ConditionStalled, metav1.ConditionTrue, want.reason)
		w.Absent(w.resource, v1alpha1.ConditionReconciling)
	} else {
		w.Expect(w.resource, v1alpha1.ConditionReconciling, metav1.ConditionTrue, v1alpha1.ReasonProgressingWithRetry)
		w.Absent(w.resource, v1alpha1.ConditionStalled)
	}
	if wait < want.soonest || wait > world.Slowest {
		w.T.Errorf("tries again after %s, want %s at least", wait, want.soonest)
	}
	if w.tap.hasMade() && !slices.Contains(w.resource.Finalizers, v1alpha1.Finalizer) {
		w.T.Error("there are objects in the zone, and no finalizer")
	}
	w.NoCanaries(append([]string{"canary-rotated-secret"}, w.tap.carried()...)...)
}

// failDeletion lets a deletion fail as long as it does not give up, and get over it.
func (w *faulty) failDeletion(want verdict, f remoteFault) {
	w.T.Helper()
	n := attempts(f)
	if want.remedy != "" {
		n = min(n, 2) // the third gives up
	}
	for i := range n {
		result := w.attempt()
		if i == 0 && w.tap.hit() == 0 {
			w.T.Fatal("the call was not made")
		}
		if want == done || w.tap.hit() == 0 && f.served {
			break
		}
		if !slices.Contains(w.resource.Finalizers, v1alpha1.Finalizer) {
			w.T.Fatal("the finalizer is gone")
		}
		message := w.Expect(w.resource, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonDeleting)
		w.Expect(w.resource, v1alpha1.ConditionReconciling, metav1.ConditionTrue, v1alpha1.ReasonDeleting)
		if !strings.Contains(message, want.reason) || !strings.Contains(message, want.remedy) {
			w.T.Errorf("the message does not say %s: %s", want.reason, message)
		}
		soonest := 5 * time.Second
		if want.reason == v1alpha1.ReasonThrottled {
			soonest = want.soonest
		}
		if result.RequeueAfter < soonest || result.RequeueAfter > world.Slowest {
			w.T.Errorf("tries again after %s", result.RequeueAfter)
		}
		w.NoCanaries(w.tap.carried()...)
		w.Clock.Step(result.RequeueAfter)
	}
	w.tap.breaks("", nil)
}

// gone lets a deletion end, which leaves nothing in the zone.
func (w *faulty) gone() {
	w.T.Helper()
	w.attempt()
	if err := w.K8s.Get(w.Ctx, client.ObjectKeyFromObject(w.resource), w.resource); !apierrors.IsNotFound(err) {
		w.T.Errorf("the object is still there: %v\n%s", err, world.Describe(w.resource.Status.Conditions))
	}
	if left := w.census(); left != (census{}) {
		w.T.Errorf("the zone still has %+v", left)
	}
	for _, e := range w.Events.Take() {
		if strings.Contains(e, v1alpha1.EventOrphaned) {
			w.T.Errorf("the deletion gave up: %s", e)
		}
	}
	w.NoCanaries(append([]string{"canary-rotated-secret"}, w.tap.carried()...)...)
}
