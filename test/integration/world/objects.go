// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone/faults"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/redacted"
	"github.com/keycardai/keycard-operator/internal/throttle"
	"github.com/keycardai/keycard-operator/test/must"
)

// The bounds of the first retry after a passing failure, and of one that needs a person outside.
const (
	FirstRetry = time.Second
	LastRetry  = 2 * time.Second
	SlowRetry  = 10 * time.Minute
	Slowest    = 11 * time.Minute
)

// What a zone or Atlassian answers instead of what it should.
var (
	HangUp    = faults.Fault{Break: faults.Reset}
	Slow      = faults.Fault{Break: faults.Hang}
	Throttled = faults.Fault{Status: http.StatusTooManyRequests, RetryAfter: 90, Body: `{"error":"slow_down"}`}
)

// Reply answers something.
func Reply(status int, contentType, body string) faults.Fault {
	return faults.Fault{Status: status, ContentType: contentType, Body: body}
}

// ReplyJSON answers JSON.
func ReplyJSON(status int, body string) faults.Fault { return Reply(status, "application/json", body) }

// Huge answers 8 MB.
func Huge() faults.Fault { return ReplyJSON(http.StatusOK, strings.Repeat("x", 8<<20)) }

// Inject has the zone's server answer requests wrongly until undo is called. on is a surface, and may go on with
// a method and the beginning of a path, or it is an operation.
func (w *World) Inject(on string, f faults.Fault) (undo func()) {
	w.T.Helper()
	parts := strings.Fields(on)
	switch len(parts) {
	case 3:
		f.Surface, f.Method, f.Path = parts[0], parts[1], strings.TrimSuffix(parts[2], "/")
		if f.Path != parts[2] {
			f.Path += "/**"
		}
	default:
		f.Surface = parts[0]
		if _, known := faults.Operations[on]; known {
			f.Surface, f.Operation = "", on
		}
	}
	added, err := w.Zone.Faults.Add(f)
	must.Succeed(w.T, err)
	return func() { w.Zone.Faults.Remove(added.ID) }
}

// DeleteSecret gives a change of a world.
func DeleteSecret(name string) func(*World) {
	return func(w *World) {
		must.Succeed(w.T, w.K8s.Delete(w.Ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: name}}))
	}
}

// SetKey gives a change of a world: a key of a Secret has a value, or, with nil, is not there.
func SetKey(name, key string, value []byte) func(*World) {
	return func(w *World) {
		var s corev1.Secret
		must.Succeed(w.T, w.K8s.Get(w.Ctx, client.ObjectKey{Namespace: w.NS, Name: name}, &s))
		delete(s.Data, key)
		if value != nil {
			s.Data[key] = value
		}
		must.Succeed(w.T, w.K8s.Update(w.Ctx, &s))
	}
}

// Token200 is the body of a token response, with the token and its lifetime.
const Token200 = `{"access_token":%q,"token_type":"Bearer","expires_in":%s,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}`

// NoCanaries looks for secrets wherever they must not be: logs, events, and objects other than Secrets.
func (w *World) NoCanaries(more ...string) {
	w.T.Helper()
	canaries := append([]string{OperatorSecret, AtlassianSecret, ReportsSecret}, more...)
	var secrets corev1.SecretList
	must.Succeed(w.T, w.K8s.List(w.Ctx, &secrets, client.InNamespace(w.NS)))
	for _, s := range secrets.Items {
		if token := string(s.Data["token"]); token != "" {
			canaries = append(canaries, token)
		}
	}
	for _, c := range slices.Clone(canaries) {
		canaries = append(canaries, base64.StdEncoding.EncodeToString([]byte(c))) // as in a Secret
	}
	var resources v1alpha1.KeycardResourceList
	var bindings v1alpha1.ConfluenceTokenBindingList
	must.Succeed(w.T, w.K8s.List(w.Ctx, &resources, client.InNamespace(w.NS)))
	must.Succeed(w.T, w.K8s.List(w.Ctx, &bindings, client.InNamespace(w.NS)))
	for _, s := range secrets.Items {
		resourcesText := fmt.Sprint(s.ObjectMeta)
		for _, c := range canaries {
			if strings.Contains(resourcesText, c) {
				w.T.Errorf("the metadata of Secret %s holds a secret", s.Name)
			}
		}
	}
	places := map[string]string{
		"logs": w.Logs.String(), "events": fmt.Sprint(w.Events.list),
		"KeycardResources": fmt.Sprintf("%+v", resources), "ConfluenceTokenBindings": fmt.Sprintf("%+v", bindings),
	}
	for place, text := range places {
		for i, c := range canaries {
			if strings.Contains(text, c) {
				w.T.Errorf("secret %d is in the %s", i, place)
			}
		}
	}
}

// Pages lists the titles that the token in a Secret can read.
func (w *World) Pages(secret *corev1.Secret) []string {
	w.T.Helper()
	req, err := http.NewRequestWithContext(w.Ctx, http.MethodGet, string(secret.Data["base_url"])+"/wiki/api/v2/pages?limit=250", nil)
	must.Succeed(w.T, err)
	req.Header.Set("Authorization", "Bearer "+string(secret.Data["token"]))
	resp, err := http.DefaultClient.Do(req)
	must.Succeed(w.T, err)
	defer func() { _ = resp.Body.Close() }()
	var list struct {
		Results []struct {
			Title string `json:"title"`
		} `json:"results"`
	}
	if resp.StatusCode != http.StatusOK {
		w.T.Fatalf("listing pages: HTTP %d", resp.StatusCode)
	}
	must.Succeed(w.T, json.NewDecoder(resp.Body).Decode(&list))
	var titles []string
	for _, r := range list.Results {
		titles = append(titles, r.Title)
	}
	return titles
}

// Keys are those of a Secret, in order.
func Keys(s *corev1.Secret) []string {
	var out []string
	for k := range s.Data {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// Label edits a Secret, and none of its values.
func (w *World) Label(secret, value string) {
	w.T.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.NS, Name: secret}}
	must.Succeed(w.T, w.K8s.Patch(w.Ctx, s, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"edited":"`+value+`"}}}`))))
}

// What the objects of an install are called in the zone.
const (
	ProviderIdentifier = "https://auth.atlassian.com"
	ResourceIdentifier = "https://api.atlassian.com/ex/confluence"
)

// Admin is a client of the zone's management API for what tests do behind the operator's back.
func (w *World) Admin() *keycard.ManagementClient {
	w.T.Helper()
	pool := keycard.NewPool(keycard.Options{AllowInsecureLoopback: true, Now: w.Clock.Now})
	admin, err := pool.Management(keycard.ManagementConfig{BaseURL: w.Zone.APIURL, ClientID: "operator", ClientSecret: redacted.New(OperatorSecret)})
	must.Succeed(w.T, err)
	return admin
}

// Objects counts the Atlassian providers and Confluence resources in the zone, whatever their number.
func (w *World) Objects() (providers, resources int) {
	w.T.Helper()
	_, found, err := w.Admin().FindProvider(w.Ctx, w.Zone.ZoneID, ProviderIdentifier)
	must.Succeed(w.T, err)
	if found {
		providers = 1
	}
	_, found, err = w.Admin().FindResource(w.Ctx, w.Zone.ZoneID, ResourceIdentifier)
	must.Succeed(w.T, err)
	if found {
		resources = 1
	}
	return providers, resources
}

// Crowd has others hold all places at the zone, until the returned function is called.
func (w *World) Crowd() (leave func()) {
	w.T.Helper()
	inside := 0
	for w.Deps.Gates.Enter(w.Zone.Issuer, fmt.Sprint("other-", inside), w.Clock.Now(), false) == throttle.Go {
		inside++
	}
	return func() {
		for range inside {
			w.Deps.Gates.Leave(w.Zone.Issuer, throttle.Answer{Answered: true})
		}
	}
}

// Probing is a binding whose tokens are tried.
func (w *World) Probing() *v1alpha1.ConfluenceTokenBinding {
	b := w.Binding("reports")
	b.Spec.Verify = v1alpha1.VerifyProbe
	return b
}

// ProbeCall is the path by which a token is probed.
const ProbeCall = "/wiki/rest/api/content"
