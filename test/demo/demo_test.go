// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone/seed"
	"github.com/keycardai/keycard-operator/test/testenv/person"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

func TestFlags(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no rotations":   {[]string{"--rotations=0"}, "--rotations is 0"},
		"short lifetime": {[]string{"--token-lifetime=15s"}, "--token-lifetime is 15s; it has to be at least 20s"},
		"argument":       {[]string{"now"}, "unknown command"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := command()
			cmd.SetArgs(tt.args)
			NewWithT(t).Expect(cmd.Execute()).To(MatchError(ContainSubstring(tt.want)))
		})
	}
}

func TestReadZone(t *testing.T) {
	g := NewWithT(t)
	const all = "time=2026 level=INFO msg=listening\n" +
		"zone       http://127.0.0.1:1  zone_id=zn-demo issuer=http://127.0.0.1:1\n" +
		"api        http://127.0.0.1:2\n" +
		"atlassian  http://127.0.0.1:3\n"
	z, found := readZone(all + "time=2026 level=DEBUG msg=request\n")
	g.Expect(found).To(BeTrue())
	g.Expect(z).To(Equal(zone{id: "zn-demo", issuer: "http://127.0.0.1:1", api: "http://127.0.0.1:2", atlassian: "http://127.0.0.1:3"}))
	for n := range len(all) {
		_, found := readZone(all[:n])
		g.Expect(found).To(BeFalse(), "after %q", all[:n])
	}
}

// What the demo generates fits the samples as they are shipped, and devzone's seed fits both.
func TestSamplesFit(t *testing.T) {
	g := NewWithT(t)
	samples := filepath.Join("..", "..", "config", "samples")
	var resource v1alpha1.KeycardResource
	var binding v1alpha1.ConfluenceTokenBinding
	readYAML(t, filepath.Join(samples, "keycardresource.yaml"), &resource)
	readYAML(t, filepath.Join(samples, "confluencetokenbinding.yaml"), &binding)

	var names []string
	for _, c := range credentials() {
		names = append(names, c.namespace+"/"+c.name)
		g.Expect([]string{c.clientID, c.clientSecret}).NotTo(ContainElement(""))
	}
	g.Expect(names).To(ConsistOf(
		resource.Namespace+"/"+resource.Spec.Zone.ServiceAccountSecretRef.Name,
		resource.Namespace+"/"+resource.Spec.OAuthAppSecretRef.Name,
		binding.Namespace+"/"+binding.Spec.Application.ClientSecretRef.Name,
	))
	application := seed.Default().Applications[0]
	g.Expect(application.MayImpersonate).To(ContainElement(binding.Spec.Subject.User))

	var role rbacv1.Role
	g.Expect(yaml.UnmarshalStrict(bytes.Split([]byte(consumer), []byte("---\n"))[1], &role)).To(Succeed())
	g.Expect(role.Namespace).To(Equal(binding.Namespace))
	g.Expect(role.Rules).To(Equal([]rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{binding.Spec.Secret.Name}, Verbs: []string{"get"},
	}}))
}

// What the demo adds for the sample of a workload fits it, and nobody has consented for it yet.
func TestWorkloadFits(t *testing.T) {
	g := NewWithT(t)
	raw, err := os.ReadFile(filepath.Join("..", "..", "config", "samples", "workload.yaml"))
	g.Expect(err).NotTo(HaveOccurred())
	documents := bytes.Split(raw, []byte("---\n"))
	g.Expect(documents).To(HaveLen(2))
	var account corev1.ServiceAccount
	var binding v1alpha1.ConfluenceTokenBinding
	g.Expect(yaml.UnmarshalStrict(documents[0], &account)).To(Succeed())
	g.Expect(yaml.UnmarshalStrict(documents[1], &binding)).To(Succeed())
	g.Expect("ConfluenceTokenBinding " + binding.Namespace + "/" + binding.Name).To(Equal(digest))
	g.Expect(binding.Spec.Application.ServiceAccountName).To(Equal(account.Name))
	g.Expect(account.Namespace).To(Equal(binding.Namespace))

	g.Expect(carol().Email).To(Equal(binding.Spec.Subject.User))
	g.Expect(carol().Password).NotTo(BeEmpty())
	for _, u := range seed.Default().Users {
		g.Expect(u.Identifier == binding.Spec.Subject.User && len(u.Consents) > 0).To(BeFalse())
	}
	g.Expect(workloadOverlay).To(And(
		ContainSubstring(fmt.Sprintf("context.subject.identifier == %q", binding.Spec.Subject.User)),
		ContainSubstring(fmt.Sprintf("%q };", "urn:kubernetes:"+clusterID+":serviceaccount:"+account.Namespace+":"+account.Name))))
	var role rbacv1.Role
	g.Expect(yaml.UnmarshalStrict(bytes.Split([]byte(workloadReader), []byte("---\n"))[0], &role)).To(Succeed())
	g.Expect(role.Namespace).To(Equal(binding.Namespace))
	g.Expect(role.Rules).To(Equal([]rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{binding.Spec.Secret.Name}, Verbs: []string{"get"},
	}}))
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(raw, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// recorder keeps what is said.
type recorder struct{ lines []string }

func (r *recorder) say(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *recorder) take() []string {
	lines := r.lines
	r.lines = nil
	return lines
}

func TestProgress(t *testing.T) {
	g := NewWithT(t)
	var said recorder
	p := newProgress(said.say)
	resource := &v1alpha1.KeycardResource{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b"}}
	observe := func(conditions ...metav1.Condition) []string {
		resource.Status.Conditions = conditions
		p.observe(resource.DeepCopy())
		return said.take()
	}
	missing := metav1.Condition{Type: "Ready", Status: metav1.ConditionFalse, Reason: "SecretNotFound", Message: "Secret x is missing"}
	working := metav1.Condition{Type: "Reconciling", Status: metav1.ConditionTrue, Reason: "Progressing", Message: "soon"}
	done := metav1.Condition{Type: "Ready", Status: metav1.ConditionTrue, Reason: "Ready", Message: "fine"}

	g.Expect(p.ready("KeycardResource a/b")).To(BeFalse())
	g.Expect(observe(missing, working)).To(ConsistOf(
		MatchRegexp(`^KeycardResource a/b +Ready=False SecretNotFound: Secret x is missing$`),
		MatchRegexp(`^KeycardResource a/b +Reconciling=True Progressing$`)))
	g.Expect(observe(missing, working)).To(BeEmpty(), "nothing changed")
	g.Expect(p.ready("KeycardResource a/b")).To(BeFalse())
	g.Expect(observe(done)).To(ConsistOf(
		MatchRegexp(`Ready=True Ready$`), MatchRegexp(`Reconciling is gone$`)))
	g.Expect(p.ready("KeycardResource a/b")).To(BeTrue())
	g.Expect(p.ready("KeycardResource a/b", "ConfluenceTokenBinding a/b")).To(BeFalse())
}

func TestProgressOfTokens(t *testing.T) {
	g := NewWithT(t)
	var said recorder
	p := newProgress(said.say)
	observe := func(expires time.Time) []string {
		binding := &v1alpha1.ConfluenceTokenBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b"}}
		binding.Status.ExpiresAt, binding.Status.RefreshAt = &metav1.Time{Time: expires}, &metav1.Time{Time: expires}
		p.observe(binding)
		return said.take()
	}
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.Local)
	g.Expect(observe(noon)).To(BeEmpty(), "the first token is what Ready says")
	g.Expect(observe(noon)).To(BeEmpty())
	g.Expect(observe(noon.Add(time.Minute))).To(ConsistOf(ContainSubstring("a new token, until 12:01:00")))
}

// A link to consent is shown when it comes, and gone with the consent.
func TestProgressOfLinks(t *testing.T) {
	g := NewWithT(t)
	var said recorder
	p := newProgress(said.say)
	observe := func(link string) []string {
		binding := &v1alpha1.ConfluenceTokenBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b"}}
		binding.Status.ConsentURL = link
		p.observe(binding)
		return said.take()
	}
	g.Expect(observe("")).To(BeEmpty())
	g.Expect(observe("http://page")).To(ConsistOf(ContainSubstring("consentURL: http://page")))
	g.Expect(observe("http://page")).To(BeEmpty())
	g.Expect(p.link("ConfluenceTokenBinding a/b")).To(Equal("http://page"))
	g.Expect(observe("")).To(BeEmpty())
	g.Expect(p.link("ConfluenceTokenBinding a/b")).To(BeEmpty())
}

// Without a browser that works, a plain client takes its place, and which of the two it was is said.
func TestOpenBrowser(t *testing.T) {
	for name, path := range map[string]string{"none": "/nowhere/chromium", "broken": "/bin/false"} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			t.Setenv("CHROMIUM", path)
			var out bytes.Buffer
			d := &demo{Run: program.NewRun(&out)}
			browser, stop, err := d.openBrowser(t.Context())
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(browser).To(BeAssignableToTypeOf(&person.Plain{}))
			g.Expect(d.workload.how).To(Equal("by a plain HTTP client"))
			g.Expect(out.String()).To(ContainSubstring(path))
			g.Expect(stop()).To(Succeed())
		})
	}
}

// A reader counts every request, failures among them, and sees the token change.
func TestReader(t *testing.T) {
	g := NewWithT(t)
	good := "first"
	confluence := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.RequestURI() != "/wiki/api/v2/pages?limit=5":
			w.WriteHeader(http.StatusNotFound)
		case r.Header.Get("Authorization") != "Bearer "+good:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			fmt.Fprint(w, `{"results":[{"title":"Home"},{"title":"Guide"}]}`)
		}
	}))
	t.Cleanup(confluence.Close)
	var said recorder
	var unreadable error
	content := document{AccessToken: "first", ExpiresAt: time.Now().Add(time.Hour), BaseURL: confluence.URL}
	r := &reader{say: said.say, secret: func(context.Context) (*corev1.Secret, error) {
		raw, err := json.Marshal(content)
		return &corev1.Secret{Data: map[string][]byte{"token.json": raw}}, errors.Join(err, unreadable)
	}}

	r.read(t.Context())
	g.Expect(said.take()).To(ConsistOf("its pages: Home, Guide"))
	r.read(t.Context())
	g.Expect([]int{r.requests, r.failures, r.rotations()}).To(Equal([]int{2, 0, 0}))

	content.AccessToken, content.ExpiresAt = "second", time.Now().Add(2*time.Hour)
	r.read(t.Context())
	g.Expect([]int{r.requests, r.failures, r.rotations()}).To(Equal([]int{3, 1, 1}), "the server does not know the second token")
	g.Expect(r.leastLeft).To(BeNumerically("~", time.Hour, time.Minute))
	g.Expect(said.take()).To(ConsistOf(ContainSubstring("rotation 1"), "request 3 failed: listing pages: HTTP 401"))

	good = "second"
	r.read(t.Context())
	unreadable = errors.New("forbidden")
	r.read(t.Context())
	g.Expect([]int{r.requests, r.failures, r.rotations()}).To(Equal([]int{5, 2, 1}))
	g.Expect(said.take()).To(ConsistOf("request 5 failed: reading the Secret: forbidden"))

	over, cancel := context.WithCancel(t.Context())
	cancel()
	r.read(over)
	g.Expect([]int{r.requests, r.failures}).To(Equal([]int{5, 2}), "a request that is cut off is none")
}

func TestSearch(t *testing.T) {
	g := NewWithT(t)
	secrets := map[string]string{"a password": "hunter2", "a token": "t0k3n"}
	found, err := search(map[string]string{"a.log": "all is well", "b.log": `{"header":"Bearer t0k3n"}`}, secrets)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(found).To(Equal([]string{"a token is in b.log"}))
	_, err = search(map[string]string{"a.log": "\n"}, secrets)
	g.Expect(err).To(MatchError(ContainSubstring("a.log is empty")))
	_, err = search(map[string]string{"a.log": "x"}, map[string]string{"a token": ""})
	g.Expect(err).To(MatchError(ContainSubstring("a token is empty")))
}
