// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// The document's sections.
const (
	forACluster   = "For a cluster"
	withHelm      = "With Helm"
	forNamespaces = "For single namespaces"
	removal       = "Removal"
	upgrade       = "Upgrade"
)

// wholeCluster installs with kubectl, twice, has the operator work, and removes everything in the order of the document.
func (g *guide) wholeCluster() {
	g.t.Helper()
	before := g.everything()
	g.run(forACluster, "make build-installer IMG=", "kubectl apply -f dist/install.yaml")
	if image := g.ofOperator("keycard-system", "image"); image != "registry.example.com/keycard-operator:v1" {
		g.t.Errorf("the image is %s", image)
	}
	again := g.run(forACluster, "kubectl apply -f dist/install.yaml")
	if strings.Contains(again, "created") {
		g.t.Errorf("applied again it made something: %s", again)
	}
	g.untilTheKindsAreThere()
	_, stop := g.start(g.operator)
	g.apply(keptInstall + "---" + twoBindings)
	g.untilReady("platform", "keycardresource/kept")
	g.untilReady("app", "confluencetokenbinding/first", "confluencetokenbinding/second")
	g.run(removal, "kubectl delete confluencetokenbindings", "kubectl delete keycardresources")
	g.untilGone("-token")
	g.run(removal, "kubectl delete -f dist/install.yaml")
	stop()
	g.nothingBut(before)
}

const finalizedInstall = `apiVersion: keycard.cloud/v1alpha1
kind: KeycardResource
metadata: {name: confluence, namespace: platform, finalizers: [` + v1alpha1.Finalizer + `]}
spec:
  zone: {id: zn-8f2c, serviceAccountSecretRef: {name: keycard-service-account}}
  catalogEntry: confluence
  oauthAppSecretRef: {name: confluence-oauth-app}
  deletionPolicy: Delete
`

// removalInTheWrongOrder removes everything while an install has its finalizer, and no operator is there to take it off: the
// remedy lets it go, and with it the CRDs and its namespace.
func (g *guide) removalInTheWrongOrder() {
	g.t.Helper()
	before := g.everything()
	g.run(forACluster, "kubectl apply -f dist/install.yaml")
	g.untilTheKindsAreThere()
	g.apply(finalizedInstall)
	g.sh(g.command(removal, "kubectl delete -f dist/install.yaml") + " --wait=false")
	g.kubectl("wait", "--for=jsonpath={.metadata.deletionTimestamp}", "--timeout=60s", "-n", "platform", "keycardresource/confluence")
	g.run(removal, "kubectl -n platform patch keycardresource confluence")
	g.kubectl("wait", "--for=delete", "--timeout="+resync.String(), "crd/keycardresources.keycard.cloud", "crd/confluencetokenbindings.keycard.cloud")
	g.kubectl("wait", "--for=delete", "--timeout=60s", "namespace/keycard-system")
	g.nothingBut(before)
	g.kubectl("delete", "namespace", "platform", "--timeout=60s")
}

// helm installs, changes values, upgrades and uninstalls. The kinds and their objects stay.
func (g *guide) helm() {
	g.t.Helper()
	g.run(withHelm, "kubectl create namespace keycard-system", "kubectl label namespace keycard-system")
	install := g.command(withHelm, "helm install keycard-operator charts/keycard-operator --namespace keycard-system \\")
	g.sh(install)
	g.refused(install, "cannot reuse a name that is still in use")
	again := strings.Replace(install, "helm install", "helm upgrade --install", 1)
	installed := g.resourceVersions()
	g.sh(again)
	if now := g.resourceVersions(); now != installed {
		g.t.Errorf("installed again it changed\n%s to\n%s", installed, now)
	}
	g.refused(again+" --set image.tga=v2", "'tga' not allowed")
	g.refused(again+" --set replica=1", "'replica' not allowed")

	g.run(withHelm, "helm upgrade keycard-operator charts/keycard-operator")
	g.kubectl("get", "-n", "keycard-system", "service/keycard-operator-consent")
	g.run(upgrade, "helm upgrade keycard-operator charts/keycard-operator")
	if image, args := g.ofOperator("keycard-system", "image"), g.ofOperator("keycard-system", "args"); image != "registry.example.com/keycard-operator:v2" ||
		!strings.Contains(args, "--consent-address=:8082") || !strings.Contains(args, "--consent-url=https://consent.example.com") {
		g.t.Errorf("upgraded, the operator is %s with %s", image, args)
	}

	g.apply(strings.NewReplacer("namespace: platform", "namespace: app", ", finalizers: ["+v1alpha1.Finalizer+"]", "").Replace(finalizedInstall))
	g.run(removal, "helm uninstall keycard-operator")
	g.kubectl("get", "-n", "app", "keycardresource/confluence")
	if left := g.ofTheOperator(); left != "" {
		g.t.Errorf("uninstalled, there are %s", left)
	}
	g.run(removal, "kubectl delete -k config/crd", "kubectl delete namespace keycard-system")
}

// takeOver has Helm take over what kubectl applied. The CRDs stay for what follows: an API server that has just changed a CRD
// may take minutes to delete it.
func (g *guide) takeOver() {
	g.t.Helper()
	takeOver := g.command(withHelm, "helm install keycard-operator charts/keycard-operator --namespace keycard-system --take-ownership")
	withoutForce := strings.Replace(takeOver, "--force-conflicts", "", 1)
	upgrade := g.command(upgrade, "helm upgrade keycard-operator charts/keycard-operator")
	const conflict = `conflict with "kubectl-client-side-apply"`

	// Of the same version: there is nothing to force until an upgrade changes a CRD.
	g.run(forACluster, "kubectl apply -f dist/install.yaml")
	g.refused(strings.Replace(withoutForce, "--take-ownership", "", 1), "invalid ownership metadata")
	g.sh(takeOver)
	g.sh("cp " + crds + " shipped.yaml && " + otherCRDs + " shipped.yaml > " + crds)
	g.refused(upgrade, conflict)
	g.sh(upgrade + " --force-conflicts")
	g.haveCRDs("maxLength: 252")
	g.sh("mv shipped.yaml " + crds)
	g.sh(upgrade)
	g.haveCRDs("maxLength: 253")
	g.sh("helm uninstall keycard-operator --namespace keycard-system")

	// Of another version.
	g.sh(otherCRDs + " dist/crds.yaml | kubectl apply -f -")
	g.refused(withoutForce, conflict)
	g.sh(strings.Replace(takeOver, "helm install", "helm upgrade --install", 1)) // the refused one left a release that failed
	g.haveCRDs("maxLength: 253")
	g.sh("helm uninstall keycard-operator --namespace keycard-system")
	g.kubectl("delete", "namespace", "keycard-system", "--timeout=60s")
}

const crds = "charts/keycard-operator/files/crds.yaml"

// otherCRDs turns the shipped CRDs into those of another version.
const otherCRDs = "sed 's/maxLength: 253/maxLength: 252/'"

// haveCRDs checks that the cluster has the CRDs of the version that says so.
func (g *guide) haveCRDs(maxLength string) {
	g.t.Helper()
	out := g.kubectl("get", "crds", "-o", "yaml")
	for _, other := range []string{"maxLength: 252", "maxLength: 253"} {
		if strings.Contains(out, other) != (other == maxLength) {
			g.t.Errorf("the CRDs are not those with %s", maxLength)
		}
	}
}

// helmInSingleNamespaces installs a release with permissions in two namespaces only. The teams' Secrets are there before.
func (g *guide) helmInSingleNamespaces() {
	g.t.Helper()
	before := g.everything()
	g.apply(inTeams(userInputs))
	install := g.command(withHelm, "helm install keycard-operator charts/keycard-operator --namespace team-a")
	g.run(withHelm, "kubectl apply -f dist/crds.yaml")
	g.refused(install+" --set 'restartNamespaces={team-c}'", "restartNamespaces: team-c is not among watchNamespaces")
	g.sh(install)
	if args, value := g.ofOperator("team-a", "args"), g.ofOperator("team-a", "env[1].value"); value != ",team-b" || !strings.Contains(args, "$(MORE_NAMESPACES)") {
		g.t.Errorf("the operator has %s, MORE_NAMESPACES=%s", args, value)
	}
	if cluster := g.kubectl("get", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/name=keycard-operator", "-o", "name"); strings.Contains(cluster, "/") {
		g.t.Errorf("in the cluster there are %s", cluster)
	}
	g.may(true, "get secrets", "team-b")
	g.may(false, "patch deployments.apps", "team-b")
	g.sh("helm upgrade keycard-operator charts/keycard-operator --namespace team-a --reset-then-reuse-values --set 'restartNamespaces={team-b}'")
	g.may(true, "patch deployments.apps", "team-b")
	g.may(false, "patch deployments.apps", "team-a")
	g.sh("helm uninstall keycard-operator --namespace team-a")
	g.kubectl("delete", "namespaces", "team-a", "team-b", "--timeout=60s")
	g.nothingBut(before)
}

// singleNamespaces installs with kubectl in two namespaces, has the operator work there, permits it to restart workloads,
// applies everything again as an upgrade does, and removes it.
func (g *guide) singleNamespaces() {
	g.t.Helper()
	g.apply(inTeams(userInputs))
	g.namespaceAdmin("jane")
	g.run(forNamespaces, "kubectl apply -f dist/crds.yaml")
	g.untilTheKindsAreThere()
	install := g.command(forNamespaces, "kubectl -n team-a apply -f dist/namespaced.yaml")
	g.refused(install+" --as=jane", "attempting to grant RBAC permissions not currently held")
	g.sh("kubectl -n team-a create rolebinding jane-all --clusterrole=cluster-admin --user=jane")
	g.sh(install + " --as=jane")
	g.run(forNamespaces, "kubectl -n team-b apply -k config/namespaced/watched", "kubectl -n team-b patch rolebinding keycard-operator",
		"kubectl -n team-a set env deployment/keycard-operator MORE_NAMESPACES=,team-b")
	stop := g.startIn("team-a")
	g.restartInTeamB()
	stop()

	// Applied again, the RoleBinding has to be patched again. The variable stays.
	g.run(forNamespaces, "kubectl -n team-b apply -k config/namespaced/watched")
	g.may(false, "get secrets", "team-b")
	g.run(forNamespaces, "kubectl -n team-b patch rolebinding keycard-operator", "kubectl -n team-a apply -f dist/namespaced.yaml")
	g.may(true, "get secrets", "team-b")
	if value := g.ofOperator("team-a", "env[1].value"); value != ",team-b" {
		g.t.Errorf("applied again, MORE_NAMESPACES is %q", value)
	}

	g.sh("kubectl -n team-b delete confluencetokenbindings --all && kubectl -n team-a delete keycardresources --all")
	g.run(removal, "kubectl -n team-b delete -k config/namespaced/watched", "kubectl -n team-a delete -f dist/namespaced.yaml",
		"kubectl -n team-a delete lease operator.keycard.cloud")
	g.kubectl("-n", "team-b", "delete", "rolebinding", "keycard-operator-restart")
	if left := g.ofTheOperator(); left != "" {
		g.t.Errorf("removed, there are %s", left)
	}
	g.sh("kubectl delete -f dist/crds.yaml")
	g.kubectl("delete", "namespaces", "team-a", "team-b", "--timeout=60s")
}

// inTeams puts the install into team-a and the rest into team-b.
func inTeams(manifests string) string {
	return strings.NewReplacer("namespace: platform", "namespace: team-a", "{name: platform}", "{name: team-a}",
		"namespace: app,", "namespace: team-b,", "{name: app,", "{name: team-b,").Replace(manifests)
}

// namespaceAdmin gives somebody what the ClusterRole admin has in a cluster, in both namespaces of the guide. No controller
// aggregates it here.
func (g *guide) namespaceAdmin(user string) {
	g.t.Helper()
	for _, namespace := range []string{"team-a", "team-b"} {
		for _, part := range []string{"view", "edit", "admin"} {
			g.kubectl("-n", namespace, "create", "rolebinding", user+"-"+part, "--clusterrole=system:aggregate-to-"+part, "--user="+user)
		}
	}
}

// startIn starts the operator as the Deployment of a namespace does.
func (g *guide) startIn(namespace string) (stop func()) {
	g.t.Helper()
	args := strings.NewReplacer("$(POD_NAMESPACE)", namespace, "$(MORE_NAMESPACES)", g.ofOperator(namespace, "env[1].value")).
		Replace(g.ofOperator(namespace, "args[*]"))
	o, err := program.StartOperatorIn(g.t.Context(), g.c, namespace, g.operator, g.log, g.zone.AtlassianURL, strings.Fields(args)...)
	g.must(err)
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			g.must(o.Stop(program.StopTimeout))
		}
	}
	g.t.Cleanup(stop)
	g.must(o.AwaitReady(g.t.Context()))
	return stop
}

const restartingBinding = `
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: app, name: legacy}
spec:
  selector: {matchLabels: {app: legacy}}
  template:
    metadata: {labels: {app: legacy}}
    spec:
      containers: [{name: legacy, image: "registry.example.com/legacy:v1"}]
---
apiVersion: keycard.cloud/v1alpha1
kind: ConfluenceTokenBinding
metadata: {namespace: app, name: legacy}
spec:
  resourceRef: {namespace: platform, name: kept}
  application: {clientSecretRef: {name: reports-app}}
  subject: {user: alice@example.com}
  secret: {name: legacy-token}
  restart:
    targets: [{kind: Deployment, name: legacy}]
`

// restartInTeamB has a token change while the operator may not restart what reads it. The condition has the command that
// permits it, and an admin of the namespace may run it.
func (g *guide) restartInTeamB() {
	g.t.Helper()
	// The zone has what the whole cluster's install registered, and what people consented to for it.
	g.apply(inTeams(keptInstall + "  adoptionPolicy: Adopt\n---" + restartingBinding))
	g.untilReady("team-a", "keycardresource/kept")
	g.untilReady("team-b", "confluencetokenbinding/legacy")
	first, err := time.Parse(time.RFC3339, g.ofBinding("issuedAt"))
	g.must(err)
	g.eventually("the next token is another second's", func(context.Context) (bool, error) { return time.Since(first) > time.Second, nil })
	g.kubectl("delete", "-n", "team-b", "secret/legacy-token") // the repair needs another token
	g.untilRestarted("RestartForbidden")
	message := g.ofBinding(`conditions[?(@.type=="Restarted")].message`)
	const want = "kubectl create rolebinding keycard-operator-restart -n team-b --role=keycard-operator-restart --serviceaccount=team-a:keycard-operator"
	if _, command, _ := strings.Cut(message, ": run "); command != want {
		g.t.Fatalf("the message is %q, want one that ends with %q", message, want)
	}
	g.tokensPageShows(strings.Replace(want, "kubectl create rolebinding keycard-operator-restart -n team-b", "kubectl -n reports create rolebinding keycard-operator-restart", 1))
	g.sh(want + " --as=jane")
	// What is forbidden is tried again every ten minutes; a correction at once.
	g.kubectl("patch", "-n", "team-b", "confluencetokenbinding/legacy", "--type=merge", `-p={"spec":{"restart":{"minInterval":"45m"}}}`)
	g.untilRestarted("Restarted")
	const annotation = `jsonpath={.spec.template.metadata.annotations.keycard\.cloud/token-issued-at}`
	if got, want := g.kubectl("get", "-n", "team-b", "deployment/legacy", "-o", annotation), g.ofBinding("issuedAt"); got != want || got == "" {
		g.t.Errorf("the Deployment was rolled out for the token of %q, the Secret's is of %q", got, want)
	}
}

func (g *guide) tokensPageShows(command string) {
	g.t.Helper()
	page, err := os.ReadFile(filepath.Join(g.project, "docs", "tokens.md"))
	g.must(err)
	if !strings.Contains(string(page), "\n"+command+"\n") {
		g.t.Errorf("docs/tokens.md does not show: %s", command)
	}
}

func (g *guide) untilRestarted(reason string) {
	g.t.Helper()
	g.kubectl("wait", "-n", "team-b", "--timeout="+patience.String(), `--for=jsonpath={.status.conditions[?(@.type=="Restarted")].reason}=`+reason, "confluencetokenbinding/legacy")
}

func (g *guide) ofBinding(path string) string {
	g.t.Helper()
	return g.kubectl("get", "-n", "team-b", "confluencetokenbinding/legacy", "-o", "jsonpath={.status."+path+"}")
}

// ofOperator gives a field of the operator's container.
func (g *guide) ofOperator(namespace, path string) string {
	g.t.Helper()
	return g.kubectl("get", "-n", namespace, "deployment/keycard-operator", "-o", "jsonpath={.spec.template.spec.containers[0]."+path+"}")
}

func (g *guide) untilTheKindsAreThere() {
	g.t.Helper()
	g.must(program.AwaitKinds(g.t.Context(), g.c))
}

// resourceVersions gives the versions of all that the chart installs.
func (g *guide) resourceVersions() string {
	g.t.Helper()
	const kinds = "deployments,networkpolicies,poddisruptionbudgets,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,customresourcedefinitions"
	return g.kubectl("get", kinds, "-n", "keycard-system", "-o", `jsonpath={range .items[*]}{.kind}/{.metadata.name}={.metadata.resourceVersion}{"\n"}{end}`)
}

// ofTheOperator lists what has the operator's label, in any namespace.
func (g *guide) ofTheOperator() string {
	g.t.Helper()
	const kinds = "deployments,services,networkpolicies,poddisruptionbudgets,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings"
	return g.kubectl("get", "leases", "--all-namespaces", "--field-selector=metadata.name=operator.keycard.cloud", "-o", "name") + g.kubectl("get", kinds, "--all-namespaces", "-l", "app.kubernetes.io/name=keycard-operator",
		"-o", `jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {end}`)
}
