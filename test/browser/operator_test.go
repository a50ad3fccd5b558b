// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package browser_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers"
	"github.com/keycardai/keycard-operator/controllers/consent"
	"github.com/keycardai/keycard-operator/test/testenv"
	"github.com/keycardai/keycard-operator/test/testenv/person"
)

// namespace is where everything of the story is.
const namespace = "team-a"

// operated is a cluster whose operator works with a zone.
type operated struct {
	*zone
	k8s     client.Client
	cluster *testenv.ControlPlane
	// page is where the consent page is; empty when there is none.
	page string
}

// operate starts a control plane and the whole operator, with its consent page.
func operate(t *testing.T, z *zone) *operated {
	t.Helper()
	address := free(t)
	return operateWith(t, z, consent.Options{Address: address, URL: "http://" + address, Application: true})
}

func operateWith(t *testing.T, z *zone, page consent.Options) *operated {
	t.Helper()
	cluster, err := testenv.Start(testenv.Options{CRDs: true})
	if err != nil {
		t.Fatalf("starting the control plane: %v", err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	ctrl.SetLogger(logr.Discard())
	o := &operated{zone: z, cluster: cluster, page: page.URL}
	if o.k8s, err = client.New(cluster.Config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	<-o.replica(page).Elected()
	return o
}

// replica starts one more operator.
func (o *operated) replica(page consent.Options) ctrl.Manager {
	t := o.t
	t.Helper()
	mgr, err := ctrl.NewManager(o.cluster.Config, ctrl.Options{
		LeaderElection: true, LeaderElectionID: "operator.keycard.cloud", LeaderElectionNamespace: "default", LeaderElectionReleaseOnCancel: true,
		Scheme: o.k8s.Scheme(), Logger: logr.Discard(), Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: controllers.CacheOptions(nil), Controller: config.Controller{SkipNameValidation: new(true), EnableWarmup: new(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = controllers.Setup(ctx, mgr, controllers.Options{
		Concurrency: 2, UserAgent: "keycard-operator/test", RequestTimeout: 10 * time.Second,
		AllowInsecureLoopback: true, AtlassianURL: o.AtlassianURL, Metrics: prometheus.NewRegistry(),
		Consent: page,
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return mgr
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// apply makes what a platform team and an application team write.
func (o *operated) apply(site string) *v1alpha1.ConfluenceTokenBinding {
	o.t.Helper()
	secret := func(name, id, value string) *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			StringData: map[string]string{"client_id": id, "client_secret": value},
		}
	}
	install := &v1alpha1.KeycardResource{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "confluence"}, Spec: v1alpha1.KeycardResourceSpec{
		Zone: v1alpha1.ZoneReference{
			ID: o.ZoneID, Issuer: o.Issuer, APIURL: o.APIURL, ServiceAccountSecretRef: v1alpha1.LocalSecretReference{Name: "zone"},
		},
		CatalogEntry: "confluence", OAuthAppSecretRef: v1alpha1.LocalSecretReference{Name: "app"},
	}}
	binding := &v1alpha1.ConfluenceTokenBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "reports"}, Spec: v1alpha1.ConfluenceTokenBindingSpec{
		ResourceRef: v1alpha1.KeycardResourceReference{Name: "confluence"},
		Application: v1alpha1.Application{ClientSecretRef: &v1alpha1.LocalSecretReference{Name: "reports"}},
		Subject:     v1alpha1.Subject{User: "alice@example.com"},
		Site:        &v1alpha1.Site{URL: site},
		Secret:      v1alpha1.OutputSecret{Name: "token"},
	}}
	for _, object := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		secret("zone", "operator", "dev-only-operator-secret"), secret("app", "atlassian-app", "dev-only-atlassian-secret"),
		secret("reports", "reports", "dev-only-reports-password"), install, binding,
	} {
		if err := o.k8s.Create(o.t.Context(), object); err != nil {
			o.t.Fatal(err)
		}
	}
	return binding
}

// until waits for the binding.
func (o *operated) until(b *v1alpha1.ConfluenceTokenBinding, what string, check func() bool) {
	o.t.Helper()
	err := wait.PollUntilContextTimeout(o.t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := o.k8s.Get(ctx, client.ObjectKeyFromObject(b), b)
		return err == nil && check(), err
	})
	if err != nil {
		o.t.Fatalf("waiting until %s: %v; the binding's status is %+v", what, err, b.Status)
	}
}

func ready(b *v1alpha1.ConfluenceTokenBinding) bool {
	return meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionReady)
}

// The product's story: a binding says where to consent, the person signs in and picks a site, the binding
// becomes Ready by itself, its Secret's token reads pages, and the audit log tells it all.
func TestBindingIsReadyAfterConsent(t *testing.T) {
	g := NewWithT(t)
	o := operate(t, newZone(t, newSeed()))
	b := o.apply("https://umbrella.atlassian.net")
	o.until(b, "it asks for consent", func() bool { return b.Status.ConsentURL != "" })
	g.Expect(b.Status.ConsentURL).To(Equal(o.page + "/" + namespace + "/reports"))
	stalled := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionStalled)
	g.Expect(stalled).NotTo(BeNil())
	g.Expect(stalled.Reason).To(Equal(v1alpha1.ReasonConsentRequired))

	p := newVisitor(t)
	p.open(b.Status.ConsentURL)
	issuer, err := url.Parse(o.Issuer)
	g.Expect(err).NotTo(HaveOccurred())
	p.sees("May reports act for you?", "namespace "+namespace, "Confluence", "alice@example.com", "read:confluence-content.all", issuer.Host)
	p.checkPage()
	p.press("button")
	g.Expect(ask[string](p, `document.querySelector("#identifier").value`)).To(Equal("alice@example.com"))
	p.fill("#password", "dev-only-alice-password")
	p.press("button.primary")
	p.press("button[value=approve]")
	p.agreeAtAtlassian("alice", umbrella)
	p.sees("Thank you", "goes on by itself")
	p.checkPage()
	consented := time.Now()
	o.until(b, "it is Ready", func() bool { return ready(b) })
	t.Logf("Ready %s after the consent", time.Since(consented).Round(time.Millisecond))
	g.Expect(b.Status.ConsentURL).To(BeEmpty())
	g.Expect(b.Status.Site).To(Equal(&v1alpha1.SiteStatus{URL: "https://umbrella.atlassian.net", CloudID: umbrella}))

	var secret corev1.Secret
	g.Expect(o.k8s.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "token"}, &secret)).To(Succeed())
	g.Expect(o.pages(umbrella, string(secret.Data["token"]))).To(Equal(200))
	g.Expect(o.pages(acme, string(secret.Data["token"]))).To(Equal(404), "she chose one site")

	kinds := []string{}
	for _, e := range o.api("GET", "/audit-events?user="+url.QueryEscape("alice@example.com"), nil)["items"].([]any) {
		e := e.(map[string]any)
		kinds = append(kinds, fmt.Sprint(e["type"], " ", e["outcome"]))
	}
	g.Expect(kinds[0]).To(Equal("credentials:issue success"))
	g.Expect(kinds).To(ContainElements("delegated_grants:create success", "consents:create success", "users:authorize success", "credentials:issue failure"))

	// A stranger to the flow, and a page of nobody.
	p.open(o.page + "/-/callback?state=guess&code=x")
	p.sees("That did not work", "expired, was used already, or was opened in another browser")
	p.open(o.page + "/" + namespace + "/other")
	p.sees("Nobody asks for consent here")
}

// One call does it all, in a real browser and with a plain client: the demo has either.
func TestConsentInOneCall(t *testing.T) {
	g := NewWithT(t)
	o := operate(t, newZone(t, newSeed()))
	b := o.apply("https://acme.atlassian.net")
	other := &v1alpha1.ConfluenceTokenBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "other"}, Spec: *b.Spec.DeepCopy()}
	other.Spec.Subject.User, other.Spec.Secret.Name = "bob@example.com", "other-token"
	other.Spec.Scopes = []v1alpha1.Scope{"read:confluence-content.all"}
	g.Expect(o.k8s.Create(t.Context(), other)).To(Succeed())
	for _, binding := range []*v1alpha1.ConfluenceTokenBinding{b, other} {
		o.until(binding, "it asks for consent", func() bool { return binding.Status.ConsentURL != "" })
	}
	g.Expect(known("alice").Consent(newVisitor(t), b.Status.ConsentURL, acme)).To(Succeed())
	// What he agrees to is all that the install asks for, as the page says, and not what his binding uses.
	visitor := newVisitor(t)
	visitor.open(other.Status.ConsentURL)
	visitor.sees("What you agree to", "write:confluence-content", "What it uses of that")
	plain, err := person.NewPlain(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(known("bob").Consent(plain, other.Status.ConsentURL)).To(Succeed())
	for _, binding := range []*v1alpha1.ConfluenceTokenBinding{b, other} {
		o.until(binding, "it is Ready", func() bool { return ready(binding) })
		g.Expect(binding.Status.Site.CloudID).To(Equal(acme))
	}
	for _, grant := range o.grants() {
		g.Expect(grant).To(HaveKeyWithValue("scopes", ContainElements("read:confluence-content.all", "write:confluence-content")))
	}
	// What went wrong is said.
	g.Expect(person.Person{Email: "bob@example.com", Password: "wrong"}.SignIn(plain)).To(MatchError(ContainSubstring(`has no "Sign in"; it says: Thank you`)))
}

// The page may be served by a replica that does not work: the one that does hears of the consent.
func TestBindingIsReadyAfterConsentAtAStandby(t *testing.T) {
	g := NewWithT(t)
	o := operate(t, newZone(t, newSeed()))
	address := free(t)
	standby := o.replica(consent.Options{Address: address, URL: "http://" + address, Application: true})
	b := o.apply("https://umbrella.atlassian.net")
	o.until(b, "it asks for consent", func() bool { return b.Status.ConsentURL != "" })
	p := newVisitor(t)
	p.open("http://" + address + "/" + namespace + "/reports")
	p.press("button")
	p.signIn("alice")
	p.press("button[value=approve]")
	p.agreeAtAtlassian("alice", umbrella)
	p.sees("Thank you")
	o.until(b, "it is Ready", func() bool { return ready(b) })
	select {
	case <-standby.Elected():
		t.Error("the standby works too")
	default:
	}
	g.Expect(b.Status.ConsentURL).To(BeEmpty())
}

// What comes of a person who says no, and of one without a site.
func TestBindingAfterRefusal(t *testing.T) {
	g := NewWithT(t)
	o := operate(t, newZone(t, newSeed()))
	b := o.apply("https://acme.atlassian.net")
	o.until(b, "it asks for consent", func() bool { return b.Status.ConsentURL != "" })
	p := newVisitor(t)
	p.open(b.Status.ConsentURL)
	p.press("button")
	p.signIn("alice")
	p.press("button[value=deny]")
	p.sees("Nothing was changed", "The person declined.")
	g.Expect(o.k8s.Get(t.Context(), client.ObjectKeyFromObject(b), b)).To(Succeed())
	g.Expect(b.Status.ConsentURL).NotTo(BeEmpty())

	// She lends the application an account that has no site.
	p.open(b.Status.ConsentURL)
	p.press("button")
	p.press("button[value=approve]")
	p.agreeAtAtlassian("dora")
	p.sees("Thank you")
	o.until(b, "it says that there is no site", func() bool {
		c := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionReady)
		return c.Reason == v1alpha1.ReasonNoAccessibleSites
	})
	g.Expect(ready(b)).To(BeFalse())
}
