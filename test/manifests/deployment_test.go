// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/test/testenv"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// patience is how long the operator or the cluster may take for anything in these tests.
const patience = 60 * time.Second

// deployment is a cluster and a zone for the operator's program, which works in it with what is shipped and no more.
type deployment struct {
	t    *testing.T
	c    *testenv.ControlPlane
	zone *devzone.Running
	// exchanges counts the requests to the zone's token endpoint.
	exchanges atomic.Int64
	dir, log  string
}

func newDeployment(t *testing.T) *deployment {
	t.Helper()
	d := &deployment{t: t, dir: t.TempDir()}
	d.log = filepath.Join(d.dir, "operator.log")
	zone, err := devzone.Start(context.WithoutCancel(t.Context()), devzone.Config{ZoneMiddleware: d.count})
	d.must(err)
	t.Cleanup(func() { d.must(zone.Close()) })
	d.zone = zone
	d.c, err = testenv.Start(testenv.Options{ControllerManager: true, AuditUser: operator})
	d.must(err)
	t.Cleanup(func() {
		if err := d.c.Stop(); err != nil {
			t.Error(err)
		}
	})
	d.apply(userInputs)
	d.eventually("the namespaces have their ServiceAccount", func(context.Context) (bool, error) {
		names := d.kubectl("get", "serviceaccounts", "--all-namespaces", "-o", "jsonpath={.items[*].metadata.namespace}")
		return strings.Contains(names, "app") && strings.Contains(names, "platform"), nil
	})
	return d
}

func (d *deployment) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/oauth/2/token" {
			d.exchanges.Add(1)
		}
		next.ServeHTTP(w, r)
	})
}

func (d *deployment) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatalf("%v\nthe operator's log ends with\n%s", err, program.Tail(d.log, 20))
	}
}

func (d *deployment) kubectl(args ...string) string {
	d.t.Helper()
	out, err := d.c.Kubectl(d.t.Context(), args...)
	d.must(err)
	return out
}

// apply applies manifests whose $NAMES are the zone's.
func (d *deployment) apply(manifests string) {
	d.t.Helper()
	file := filepath.Join(d.dir, "applied.yaml")
	d.must(os.WriteFile(file, []byte(strings.NewReplacer(
		"$ZONE", d.zone.ZoneID, "$ISSUER", d.zone.Issuer, "$API", d.zone.APIURL,
	).Replace(manifests)), 0o600))
	d.kubectl("apply", "-f", file)
}

// install applies what config/default of a source tree ships, and waits for the kinds.
func (d *deployment) install(tree string) {
	d.t.Helper()
	d.kubectl("apply", "-k", filepath.Join(tree, "config", "default"))
	d.must(program.AwaitKinds(d.t.Context(), d.c))
}

// build builds the operator of a source tree.
func (d *deployment) build(tree string) string {
	d.t.Helper()
	binary, err := filepath.Abs(filepath.Join(d.dir, "operator-"+filepath.Base(tree)))
	d.must(err)
	var out strings.Builder
	if err := program.Go(d.t.Context(), &out, "-C", tree, "build", "-o", binary, "./cmd/operator"); err != nil {
		d.t.Fatal(err, out.String())
	}
	return binary
}

// start starts an operator and waits until it is ready. The test ends it, unless stop did.
func (d *deployment) start(binary string) (o *program.Operator, stop func()) {
	d.t.Helper()
	o, err := program.StartOperator(d.t.Context(), d.c, binary, d.log, d.zone.AtlassianURL)
	d.must(err)
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			d.must(o.Stop(program.StopTimeout))
		}
	}
	d.t.Cleanup(stop)
	d.must(o.AwaitReady(d.t.Context()))
	return o, stop
}

// untilReady waits for objects, named kind/name.
func (d *deployment) untilReady(namespace string, objects ...string) {
	d.t.Helper()
	d.kubectl(append([]string{"wait", "-n", namespace, "--for=condition=Ready", "--timeout=" + patience.String()}, objects...)...)
}

func (d *deployment) eventually(what string, check func(ctx context.Context) (bool, error)) {
	d.t.Helper()
	if err := program.Until(d.t.Context(), patience, check); err != nil {
		d.t.Fatalf("waiting until %s: %v\nthe operator's log ends with\n%s", what, err, program.Tail(d.log, 20))
	}
}

func (d *deployment) clients() kubernetes.Interface { return kubernetes.NewForConfigOrDie(d.c.Config) }

// userInputs is what users bring along: the credentials are those of the zone's default seed.
const userInputs = `
apiVersion: v1
kind: Namespace
metadata: {name: platform}
---
apiVersion: v1
kind: Namespace
metadata: {name: app, labels: {confluence: "true"}}
---
apiVersion: v1
kind: Secret
metadata: {namespace: platform, name: service-account}
stringData: {client_id: operator, client_secret: dev-only-operator-secret}
---
apiVersion: v1
kind: Secret
metadata: {namespace: platform, name: oauth-app}
stringData: {client_id: atlassian-app, client_secret: dev-only-atlassian-secret}
---
apiVersion: v1
kind: Secret
metadata: {namespace: app, name: reports-app}
stringData: {client_id: reports, client_secret: dev-only-reports-password}
---
apiVersion: v1
kind: ServiceAccount
metadata: {namespace: app, name: wiki}
`

// keptInstall is an install in the simplest form, which keeps what it registers.
const keptInstall = `
apiVersion: keycard.cloud/v1alpha1
kind: KeycardResource
metadata: {namespace: platform, name: kept}
spec:
  zone: {id: $ZONE, issuer: $ISSUER, apiURL: $API, serviceAccountSecretRef: {name: service-account}}
  catalogEntry: confluence
  oauthAppSecretRef: {name: oauth-app}
  allowedNamespaces: {from: All}
`

// twoBindings use it.
const twoBindings = `
apiVersion: keycard.cloud/v1alpha1
kind: ConfluenceTokenBinding
metadata: {namespace: app, name: first}
spec:
  resourceRef: {namespace: platform, name: kept}
  application: {clientSecretRef: {name: reports-app}}
  subject: {user: alice@example.com}
  scopes: ["read:confluence-content.all"]
  secret: {name: first-token}
---
apiVersion: keycard.cloud/v1alpha1
kind: ConfluenceTokenBinding
metadata: {namespace: app, name: second}
spec:
  resourceRef: {namespace: platform, name: kept}
  application: {clientSecretRef: {name: reports-app}}
  subject: {user: alice@example.com}
  scopes: ["read:confluence-content.all"]
  refresh: {before: 20m}
  secret: {name: second-token, formats: [Curl, Env], labels: {team: reports}, annotations: {example.com/team: reports}}
`
