// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const chart = "../../charts/keycard-operator"

type values = map[string]any

// objects are by "kind namespace/name".
type objects map[string]*unstructured.Unstructured

// The chart installs what `kubectl apply -k` does. The namespace is made before the chart: Helm keeps the release in it.
func TestChart(t *testing.T) {
	want := build(t, "../../config/default")
	delete(want, "Namespace /keycard-system")
	equal(t, want, render(t, namespace, nil))

	want = objects{}
	for _, o := range build(t, "../../config/namespaced") {
		want.add(inNamespace(o, "team"))
	}
	equal(t, want, render(t, "team", values{"watchNamespaces": []any{"team"}}))
}

// Each value changes what it is for, and nothing else.
func TestChartValues(t *testing.T) {
	resources := values{"limits": values{"memory": "1Gi"}}
	rule := values{"ports": []any{values{"port": 9443.0}}}
	for name, test := range map[string]struct {
		values  values
		changed map[string]any // by "object: path"; nil where the object goes
	}{
		"image": {
			values{"image": values{"repository": "registry.example.com/operator", "tag": "v1"}},
			map[string]any{theDeployment + ": " + container + ".image": "registry.example.com/operator:v1"},
		},
		"replicas":  {values{"replicas": 1}, map[string]any{theDeployment + ": spec.replicas": 1.0}},
		"flags":     {values{"args": []any{"--concurrency=3"}}, map[string]any{theDeployment + ": " + container + ".args": []any{"--leader-elect", "--concurrency=3"}}},
		"variables": {values{"env": []any{values{"name": "A", "value": "b"}}}, map[string]any{theDeployment + ": " + container + ".env": []any{values{"name": "A", "value": "b"}}}},
		"resources": {values{"resources": resources}, map[string]any{
			theDeployment + ": " + container + ".resources": values{"limits": values{"memory": "1Gi"}, "requests": values{"cpu": "50m", "memory": "64Mi"}},
		}},
		"pull secrets":         {values{"imagePullSecrets": []any{values{"name": "s"}}}, map[string]any{theDeployment + ": spec.template.spec.imagePullSecrets": []any{values{"name": "s"}}}},
		"nodes":                {values{"nodeSelector": values{"a": "b"}}, map[string]any{theDeployment + ": spec.template.spec.nodeSelector": values{"a": "b"}}},
		"tolerations":          {values{"tolerations": []any{values{"key": "a"}}}, map[string]any{theDeployment + ": spec.template.spec.tolerations": []any{values{"key": "a"}}}},
		"affinity":             {values{"affinity": values{"nodeAffinity": values{}}}, map[string]any{theDeployment + ": spec.template.spec.affinity": values{"nodeAffinity": values{}}}},
		"priority":             {values{"priorityClassName": "high"}, map[string]any{theDeployment + ": spec.template.spec.priorityClassName": "high"}},
		"labels":               {values{"podLabels": values{"team": "a"}}, map[string]any{theDeployment + ": spec.template.metadata.labels.team": "a"}},
		"annotations":          {values{"podAnnotations": values{"note": "a"}}, map[string]any{theDeployment + ": spec.template.metadata.annotations.note": "a"}},
		"no disruption budget": {values{"podDisruptionBudget": false}, map[string]any{"PodDisruptionBudget keycard-system/keycard-operator": nil}},
		"no network policy":    {values{"networkPolicy": values{"enabled": false}}, map[string]any{policy: nil}},
		"no CRDs": {values{"crds": false}, map[string]any{
			"CustomResourceDefinition /keycardresources.keycard.cloud":        nil,
			"CustomResourceDefinition /confluencetokenbindings.keycard.cloud": nil,
		}},
		"further rule": {values{"networkPolicy": values{"egress": []any{rule}}}, map[string]any{
			policy + ": spec.egress": append(build(t, "../../config/default")[policy].Object["spec"].(values)["egress"].([]any), rule),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			want := render(t, namespace, nil)
			for at, value := range test.changed {
				object, path, _ := strings.Cut(at, ": ")
				if value == nil {
					delete(want, object)
					continue
				}
				set(t, want[object].Object, strings.Split(path, "."), value)
			}
			equal(t, want, render(t, namespace, test.values))
		})
	}
}

const (
	theDeployment = "Deployment keycard-system/keycard-operator"
	policy        = "NetworkPolicy keycard-system/keycard-operator"
	container     = "spec.template.spec.containers.0"
)

// set follows names of fields, and indices of lists.
func set(t *testing.T, in any, path []string, value any) {
	t.Helper()
	for ; len(path) > 1; path = path[1:] {
		if list, ok := in.([]any); ok && path[0] == "0" {
			in = list[0]
			continue
		}
		in = in.(values)[path[0]]
	}
	in.(values)[path[0]] = value
}

// The consent page has its flags, its port, a Service that finds the port, and a way through the NetworkPolicy.
func TestChartConsent(t *testing.T) {
	got := render(t, namespace, consent)
	pod := got[theDeployment].Object["spec"].(values)["template"].(values)["spec"].(values)["containers"].([]any)[0].(values)
	wantArgs := []any{"--leader-elect", "--consent-address=:8082", "--consent-url=https://consent.example.com"}
	if !reflect.DeepEqual(pod["args"], wantArgs) {
		t.Errorf("args are %v, want %v", pod["args"], wantArgs)
	}
	port := values{"name": "consent", "containerPort": 8082.0}
	if ports := pod["ports"].([]any); !reflect.DeepEqual(ports[len(ports)-1], any(port)) {
		t.Errorf("ports are %v, want %v", ports, port)
	}
	rule := values{"ports": []any{values{"protocol": "TCP", "port": 8082.0}}}
	if ingress := got[policy].Object["spec"].(values)["ingress"].([]any); len(ingress) != 2 || !reflect.DeepEqual(ingress[1], any(rule)) {
		t.Errorf("the policy lets in %v, want %v", ingress, rule)
	}
	service := got["Service keycard-system/keycard-operator-consent"]
	if service == nil {
		t.Fatal("there is no Service")
	}
	want := values{
		"selector": got[theDeployment].Object["spec"].(values)["selector"].(values)["matchLabels"],
		"ports":    []any{values{"name": "http", "protocol": "TCP", "port": 80.0, "targetPort": "consent"}},
	}
	if !reflect.DeepEqual(service.Object["spec"], any(want)) {
		t.Errorf("the Service has %v, want %v", service.Object["spec"], want)
	}
}

var consent = values{"consent": values{"address": ":8082", "url": "https://consent.example.com"}}

// A further namespace has the same permissions, for the ServiceAccount of the release.
func TestChartFurtherNamespace(t *testing.T) {
	want := render(t, "a", values{"watchNamespaces": []any{"a"}})
	for _, name := range []string{"Role a/keycard-operator", "RoleBinding a/keycard-operator", "Role a/keycard-operator-restart"} {
		o := want[name].DeepCopy()
		o.SetNamespace("b")
		want.add(o)
	}
	env := []string{"spec", "template", "spec", "containers", "0", "env"}
	set(t, want["Deployment a/keycard-operator"].Object, env, []any{
		values{"name": "POD_NAMESPACE", "valueFrom": values{"fieldRef": values{"fieldPath": "metadata.namespace"}}},
		values{"name": "MORE_NAMESPACES", "value": ",b"},
	})
	equal(t, want, render(t, "a", values{"watchNamespaces": []any{"b"}}))
	equal(t, want, render(t, "a", values{"watchNamespaces": []any{"b", "a", "b"}}))
}

// Restarts are permitted in the namespaces that are named, by a binding of the role that is there for it, and in no others.
func TestChartRestarts(t *testing.T) {
	for name, test := range map[string]struct {
		release string
		values  values
		role    string
	}{
		"in a cluster":         {namespace, nil, "ClusterRole /keycard-operator-restart"},
		"in single namespaces": {"a", values{"watchNamespaces": []any{"reports", "legacy"}}, "Role reports/keycard-operator-restart"},
		"in the release's own": {"reports", values{"watchNamespaces": []any{"legacy"}}, "Role reports/keycard-operator-restart"},
	} {
		t.Run(name, func(t *testing.T) {
			want := render(t, test.release, test.values)
			role := want[test.role]
			if role == nil {
				t.Fatalf("there is no %s", test.role)
			}
			want.add(&unstructured.Unstructured{Object: values{
				"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
				"metadata": values{"name": "keycard-operator-restart", "namespace": "reports", "labels": values{"app.kubernetes.io/name": "keycard-operator"}},
				"roleRef":  values{"apiGroup": "rbac.authorization.k8s.io", "kind": role.GetKind(), "name": role.GetName()},
				"subjects": []any{values{"kind": "ServiceAccount", "name": "keycard-operator", "namespace": test.release}},
			}})
			equal(t, want, render(t, test.release, with(test.values, "restartNamespaces", []any{"reports", "reports"})))
		})
	}
}

// with gives values with one more.
func with(v values, name string, value any) values {
	more := values{name: value}
	maps.Copy(more, v)
	return more
}

// What can't work is refused before it is installed, by the name of the value.
func TestChartRefuses(t *testing.T) {
	for name, v := range map[string]values{
		"replica":                {"replica": 1},
		"replicas":               {"replicas": "two"},
		"/args/0":                {"args": []any{"leader-elect"}},
		"/consent/url":           {"consent": values{"address": ":8082"}},
		"/consent/address":       {"consent": values{"address": "8082", "url": "https://a.example"}},
		"/watchNamespaces":       {"watchNamespaces": "team-a"},
		"restartNamespaces":      {"watchNamespaces": []any{"a"}, "restartNamespaces": []any{"b"}},
		"networkPolicies":        {"networkPolicies": values{}},
		"app.kubernetes.io/name": {"podLabels": values{"app.kubernetes.io/name": "other"}},
		"/image/pullPolicy":      {"image": values{"pullPolicy": "Sometimes"}},
	} {
		if _, err := renderChart(t, namespace, v); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: %v", v, err)
		}
	}
}

// equal names each object that is missing, too many or different.
func equal(t *testing.T, want, got objects) {
	t.Helper()
	for _, key := range slices.Sorted(maps.Keys(want)) {
		switch {
		case got[key] == nil:
			t.Errorf("the chart has no %s", key)
		case !reflect.DeepEqual(want[key].Object, got[key].Object):
			t.Errorf("%s is\n%s, want\n%s", key, show(t, got[key]), show(t, want[key]))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if want[key] == nil {
			t.Errorf("the chart has %s besides", key)
		}
	}
}

func show(t *testing.T, o *unstructured.Unstructured) string {
	t.Helper()
	raw, err := yaml.Marshal(o.Object)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// render is `helm template --namespace namespace`, by the library.
func render(t *testing.T, namespace string, v values) objects {
	t.Helper()
	files, err := renderChart(t, namespace, v)
	if err != nil {
		t.Fatal(err)
	}
	found := objects{}
	for name, text := range files {
		if filepath.Ext(name) == ".yaml" {
			found.parse(t, text)
		}
	}
	return found
}

func renderChart(t *testing.T, namespace string, v values) (map[string]string, error) {
	t.Helper()
	c, err := loader.Load(chart)
	if err != nil {
		t.Fatal(err)
	}
	release := common.ReleaseOptions{Name: "keycard-operator", Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(c, v, release, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Engine{Strict: true}.Render(c, all)
}

// build is `kustomize build`, by the library.
func build(t *testing.T, dir string) objects {
	t.Helper()
	found, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := found.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	all := objects{}
	all.parse(t, string(text))
	return all
}

func (o objects) parse(t *testing.T, text string) {
	t.Helper()
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		var object map[string]any
		if err := yaml.UnmarshalStrict([]byte(document), &object); err != nil {
			t.Fatalf("%v: %s", err, document)
		}
		if len(object) > 0 {
			o.add(&unstructured.Unstructured{Object: object})
		}
	}
}

func (o objects) add(object *unstructured.Unstructured) {
	o[object.GetKind()+" "+object.GetNamespace()+"/"+object.GetName()] = object
}

// inNamespace says what `kubectl -n` and a RoleBinding leave unsaid.
func inNamespace(o *unstructured.Unstructured, namespace string) *unstructured.Unstructured {
	o.SetNamespace(namespace)
	if subjects, ok := o.Object["subjects"].([]any); ok {
		subjects[0].(values)["namespace"] = namespace
	}
	return o
}

// write gives the file that `helm template` would be applied from.
func (o objects) write(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, key := range slices.Sorted(maps.Keys(o)) {
		all.WriteString("---\n" + show(t, o[key]))
	}
	file := filepath.Join(t.TempDir(), "chart.yaml")
	if err := os.WriteFile(file, []byte(all.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
