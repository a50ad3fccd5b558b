// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// The operator of a namespace works as its ServiceAccount, with the permissions of config/namespaced and no others: for an
// install in its own namespace, and for a binding in a second one that the install selects by a label set later.
func TestNamespacedInstall(t *testing.T) {
	w := world.New(t, world.RealTime)
	binary := buildOperator(t, "test")
	kubectl := func(args ...string) {
		t.Helper()
		_, err := world.Cluster.Kubectl(w.Ctx, args...)
		must.Succeed(t, err)
	}
	kubectl("apply", "-n", w.NS, "-k", "../../../config/namespaced")
	other := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "other-"}}
	must.Succeed(t, w.K8s.Create(w.Ctx, other))
	kubectl("apply", "-n", other.Name, "-k", "../../../config/namespaced/watched")
	kubectl("patch", "-n", other.Name, "rolebinding", "keycard-operator", "--type=json",
		`-p=[{"op":"add","path":"/subjects/0/namespace","value":"`+w.NS+`"}]`)

	install, near, far := w.Install(), w.Binding("near"), w.Binding("far")
	install.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{
		From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"confluence": "true"}},
	}
	far.Namespace, far.Spec.ResourceRef.Namespace = other.Name, w.NS
	must.Succeed(t, w.K8s.Create(w.Ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: other.Name, Name: "reports-app"},
		Data:       map[string][]byte{v1alpha1.ClientIDKey: []byte("reports"), v1alpha1.ClientSecretKey: []byte(world.ReportsSecret)},
	}))
	must.Succeed(t, w.K8s.Create(w.Ctx, install))
	must.Succeed(t, w.K8s.Create(w.Ctx, near))
	must.Succeed(t, w.K8s.Create(w.Ctx, far))

	cfg, err := world.Cluster.ServiceAccount(w.Ctx, w.NS, "keycard-operator", time.Hour)
	must.Succeed(t, err)
	kubeconfig, err := world.Cluster.WriteKubeconfig("keycard-operator-"+w.NS, cfg)
	must.Succeed(t, err)
	cmd := exec.Command(binary, "--kubeconfig="+kubeconfig, "--leader-elect", "--leader-election-namespace="+w.NS,
		"--watch-namespaces="+w.NS+","+other.Name, "--cluster-id-namespace="+w.NS, "--metrics-bind-address=0",
		"--health-probe-bind-address=0", "--allow-insecure-loopback", "--atlassian-url="+w.Zone.AtlassianURL)
	cmd.Stdout, cmd.Stderr = w.Logs, w.Logs
	must.Succeed(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended, unless the test failed
	w.UntilReady(install)
	w.UntilReady(near)
	// No watch reports the label: the binding is tried again by itself.
	kubectl("label", "namespace", other.Name, "confluence=true")
	w.UntilReady(far)
	w.Pages(w.Output(far))
	must.Succeed(t, cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err != nil {
		t.Errorf("the operator ended with %v", err)
	}
	if strings.Contains(strings.ToLower(w.Logs.String()), "forbidden") {
		t.Errorf("something was forbidden: %s", w.Logs)
	}
}
