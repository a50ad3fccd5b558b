// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package gitops judges every state that the controllers report as Argo CD and Flux do.
package gitops

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/golden"
	"github.com/keycardai/keycard-operator/test/must"
)

const argocd = "../../config/argocd/"

// want is "Argo CD's health, kstatus" of every state, by the folder of its controller.
var want = map[string]map[string]string{
	"tokenbinding": {
		"new": "Progressing Current", "progressing": "Progressing InProgress",
		"waiting-for-the-install": "Progressing InProgress", "never-issued": "Progressing InProgress",
		"never-issued-needs-a-person": "Degraded Failed", "a-foreign-secret": "Degraded Failed",
		"healthy": "Healthy Current", "healthy-too-short-to-mount": "Healthy Current", "healthy-lifetime-unknown": "Healthy Current",
		"refresh-in-flight": "Healthy Current", "failing-early": "Healthy Current", "failing-early-needs-a-person": "Healthy Current",
		"failing-early-without-the-install": "Healthy Current",
		"expiring":                          "Degraded InProgress", "expiring-needs-a-person": "Degraded Failed",
		"expired": "Degraded InProgress", "expired-needs-a-person": "Degraded Failed", "expired-the-zone-has-no-newer": "Degraded InProgress",
		"recovered": "Healthy Current", "suspended": "Suspended Current", "suspended-and-expired": "Suspended InProgress",
		"suspended-not-seen-yet": "Suspended InProgress",
		"stale-generation":       "Progressing InProgress", "stale-generation-after-a-refusal": "Progressing InProgress",
		"another-spec-and-the-zone-is-down": "Progressing InProgress", "another-spec-which-needs-a-person": "Degraded Failed",
		"another-spec-without-the-install": "Progressing InProgress",
	},
	"keycardresource": {
		"new": "Progressing Current", "progressing": "Progressing InProgress", "waiting-for-a-secret": "Progressing InProgress",
		"never-registered": "Progressing InProgress", "never-registered-needs-a-person": "Degraded Failed",
		"healthy": "Healthy Current", "healthy-and-the-zone-is-down": "Healthy Current",
		"a-secret-is-lost": "Degraded InProgress", "needs-a-person": "Degraded Failed", "recovered": "Healthy Current",
		"drifted": "Degraded Failed", "suspended": "Suspended Current", "suspended-before-it-was-there": "Suspended InProgress",
		"suspended-not-seen-yet": "Suspended InProgress",
		"stale-generation":       "Progressing InProgress", "stale-generation-after-a-refusal": "Progressing InProgress",
		"another-spec-and-the-zone-is-down": "Progressing InProgress", "another-spec-which-needs-a-person": "Degraded Failed",
		"deleted-while-in-use": "Progressing Terminating",
	},
}

// Every state has the health that its row of the matrix asks for, for Argo CD, for kstatus and for Flux's expressions.
func TestStates(t *testing.T) {
	flux := expressions(t)
	for folder, states := range want {
		files, err := filepath.Glob("../../controllers/" + folder + "/testdata/states/*.yaml")
		must.Succeed(t, err)
		names := make([]string, len(files))
		for i, f := range files {
			names[i] = strings.TrimSuffix(filepath.Base(f), ".yaml")
		}
		slices.Sort(names)
		if expected := slices.Sorted(maps.Keys(states)); !slices.Equal(names, expected) {
			t.Fatalf("%s has states %v, expected are %v", folder, names, expected)
		}
		for _, name := range names {
			t.Run(folder+"/"+name, func(t *testing.T) {
				obj := load(t, "../../controllers/"+folder+"/testdata/states/"+name+".yaml")
				health, message := healthOf(t, obj)
				ends := obj.GetDeletionTimestamp() != nil
				if ends {
					health = "Progressing" // which Argo CD says of it before any script is asked
				}
				result, err := status.Compute(obj)
				must.Succeed(t, err)
				if got := health + " " + result.Status.String(); got != states[name] {
					t.Errorf("health and kstatus are %s (%s; %s), want %s", got, message, result.Message, states[name])
				}
				if failing := strings.HasPrefix(name, "failing-"); failing != strings.HasPrefix(message, "failing: ") {
					t.Errorf("the message is %q", message)
				}
				if !ends { // Flux waits until it is gone
					expectFlux(t, flux[obj.GetKind()], obj, result.Status)
				}
				expectOneMover(t, obj)
			})
		}
	}
}

// expectFlux checks that the expressions agree with kstatus. An object without status is the one that kstatus takes for current:
// the expressions don't.
func expectFlux(t *testing.T, evaluator *cel.StatusEvaluator, obj *unstructured.Unstructured, want status.Status) {
	t.Helper()
	got, err := evaluator.Evaluate(t.Context(), obj)
	if obj.Object["status"] == nil {
		if err == nil && got.Status == status.CurrentStatus {
			t.Error("without a status it is current")
		}
		return
	}
	must.Succeed(t, err)
	if got.Status != want {
		t.Errorf("Flux's expressions say %s, kstatus %s", got.Status, want)
	}
}

func expectOneMover(t *testing.T, obj *unstructured.Unstructured) {
	t.Helper()
	list, _, err := unstructured.NestedSlice(obj.Object, "status", "conditions")
	must.Succeed(t, err)
	movers := 0
	for _, c := range list {
		if kind := c.(map[string]any)["type"]; kind == v1alpha1.ConditionReconciling || kind == v1alpha1.ConditionStalled {
			movers++
		}
	}
	if movers > 1 {
		t.Error("Reconciling and Stalled are both there")
	}
}

func expressions(t *testing.T) map[string]*cel.StatusEvaluator {
	t.Helper()
	var checks struct {
		Spec struct{ HealthCheckExprs []kustomize.CustomHealthCheck }
	}
	raw, err := os.ReadFile("../../config/flux/confluence.yaml")
	must.Succeed(t, err)
	must.Succeed(t, yaml.Unmarshal(raw, &checks))
	out := map[string]*cel.StatusEvaluator{}
	for i := range checks.Spec.HealthCheckExprs {
		check := &checks.Spec.HealthCheckExprs[i]
		if check.APIVersion != v1alpha1.GroupVersion.String() {
			t.Errorf("the expressions are for %s", check.APIVersion)
		}
		out[check.Kind], err = cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		must.Succeed(t, err)
	}
	if len(out) != 2 {
		t.Fatalf("there are expressions for %d kinds, want 2", len(out))
	}
	return out
}

// The action stamps the time, in UTC, whether or not there are annotations, and is off while the binding is suspended.
func TestRefreshAction(t *testing.T) {
	for name, disabled := range map[string]bool{"healthy": false, "suspended": true} {
		obj := load(t, "../../controllers/tokenbinding/testdata/states/"+name+".yaml")
		found := run(t, "actions-discovery.lua", obj).RawGetString("refresh").(*lua.LTable).RawGetString("disabled")
		if found != lua.LBool(disabled) {
			t.Errorf("%s: disabled is %v", name, found)
		}
		for _, annotations := range []map[string]string{nil, {"team": "reports"}} {
			obj.SetAnnotations(annotations)
			after := run(t, "action-refresh.lua", obj).RawGetString("metadata").(*lua.LTable).RawGetString("annotations").(*lua.LTable)
			at, err := time.Parse(time.RFC3339, after.RawGetString(v1alpha1.RefreshRequestedAtAnnotation).String())
			if err != nil || time.Since(at).Abs() > time.Minute || at.Location() != time.UTC {
				t.Errorf("%s: stamped %s: %v", name, at, err)
			}
			if annotations != nil && after.RawGetString("team").String() != "reports" {
				t.Error("another annotation is gone")
			}
		}
	}
}

// The patch of Argo CD's ConfigMap has the scripts, to the letter.
func TestPatchHasTheScripts(t *testing.T) {
	script := func(file string) string {
		raw, err := os.ReadFile(argocd + file)
		must.Succeed(t, err)
		return string(raw)
	}
	actions, err := yaml.Marshal(map[string]any{
		"discovery.lua": script("actions-discovery.lua"),
		"definitions":   []any{map[string]any{"name": "refresh", "action.lua": script("action-refresh.lua")}},
	})
	must.Succeed(t, err)
	patch, err := yaml.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "argocd-cm"}, // the namespace is that of the kustomization, or of kubectl
		"data": map[string]any{
			"resource.customizations.health.keycard.cloud_ConfluenceTokenBinding":  script("health-confluencetokenbinding.lua"),
			"resource.customizations.health.keycard.cloud_KeycardResource":         script("health-keycardresource.lua"),
			"resource.customizations.actions.keycard.cloud_ConfluenceTokenBinding": string(actions),
		},
	})
	must.Succeed(t, err)
	golden.Compare(t, argocd+"argocd-cm.yaml", patch)
}

// The component goes into the kustomization of Argo CD's own manifests, which name no namespace.
func TestComponent(t *testing.T) {
	dir := t.TempDir()
	install := read(t, module(t, "hack/gitops", "github.com/argoproj/argo-cd/v3")+"/manifests/install.yaml")
	must.Succeed(t, os.WriteFile(filepath.Join(dir, "install.yaml"), []byte(install), 0o600))
	must.Succeed(t, os.CopyFS(filepath.Join(dir, "argocd"), os.DirFS(argocd)))
	must.Succeed(t, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte("namespace: argo\nresources: [install.yaml]\ncomponents: [argocd]\n"), 0o600))
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	must.Succeed(t, err)
	for _, r := range built.Resources() {
		if r.GetKind() == "ConfigMap" && r.GetName() == "argocd-cm" {
			if data := r.GetDataMap(); len(data) < 3 || r.GetNamespace() != "argo" {
				t.Errorf("in namespace %s it has %v", r.GetNamespace(), slices.Sorted(maps.Keys(data)))
			}
			return
		}
	}
	t.Error("there is no argocd-cm")
}

func healthOf(t *testing.T, obj *unstructured.Unstructured) (health, message string) {
	t.Helper()
	hs := run(t, fmt.Sprintf("health-%s.lua", strings.ToLower(obj.GetKind())), obj)
	return hs.RawGetString("status").String(), hs.RawGetString("message").String()
}

// run runs a script as Argo CD does: with obj, the libraries base, package and table, time and date of os, for a second.
func run(t *testing.T, file string, obj *unstructured.Unstructured) *lua.LTable {
	t.Helper()
	raw, err := os.ReadFile(argocd + file)
	must.Succeed(t, err)
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for _, open := range []struct {
		name string
		lib  lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}, {lua.OsLibName, lua.OpenOs}} {
		must.Succeed(t, l.CallByParam(lua.P{Fn: l.NewFunction(open.lib), Protect: true}, lua.LString(open.name)))
	}
	full := l.GetGlobal(lua.OsLibName).(*lua.LTable)
	var unsafe []lua.LValue
	full.ForEach(func(name, _ lua.LValue) {
		if name.String() != "time" && name.String() != "date" {
			unsafe = append(unsafe, name)
		}
	})
	for _, name := range unsafe {
		full.RawSet(name, lua.LNil)
	}
	l.SetGlobal("obj", value(l, obj.Object))
	must.Succeed(t, l.DoString(string(raw)))
	table, ok := l.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("%s returns %s", file, l.Get(-1).Type())
	}
	return table
}

func value(l *lua.LState, v any) lua.LValue {
	switch v := v.(type) {
	case bool:
		return lua.LBool(v)
	case string:
		return lua.LString(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case []any:
		list := l.NewTable()
		for _, item := range v {
			list.Append(value(l, item))
		}
		return list
	case map[string]any:
		table := l.NewTable()
		for key, item := range v {
			table.RawSetString(key, value(l, item))
		}
		return table
	}
	return lua.LNil
}

func load(t *testing.T, path string) *unstructured.Unstructured {
	t.Helper()
	raw, err := os.ReadFile(path)
	must.Succeed(t, err)
	raw, err = yaml.YAMLToJSON(raw)
	must.Succeed(t, err)
	obj := &unstructured.Unstructured{}
	must.Succeed(t, obj.UnmarshalJSON(raw))
	return obj
}
