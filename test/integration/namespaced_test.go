// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// The operator of a namespace works as its ServiceAccount, with the permissions of config/namespaced and no others: for an
// install in its own namespace, and for a binding in a second one that the install selects by a label set later.
func TestNamespacedInstall(t *testing.T) {
	w := newWorld(t, realTime)
	binary := buildOperator(t, "test")
	kubectl := func(args ...string) {
		t.Helper()
		_, err := cluster.Kubectl(w.ctx, args...)
		must(t, err)
	}
	kubectl("apply", "-n", w.ns, "-k", "../../config/namespaced")
	other := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "other-"}}
	must(t, w.k8s.Create(w.ctx, other))
	kubectl("apply", "-n", other.Name, "-k", "../../config/namespaced/watched")
	kubectl("patch", "-n", other.Name, "rolebinding", "keycard-operator", "--type=json",
		`-p=[{"op":"add","path":"/subjects/0/namespace","value":"`+w.ns+`"}]`)

	install, near, far := w.install(), w.binding("near"), w.binding("far")
	install.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{
		From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"confluence": "true"}},
	}
	far.Namespace, far.Spec.ResourceRef.Namespace = other.Name, w.ns
	must(t, w.k8s.Create(w.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: other.Name, Name: "reports-app"},
		Data:       map[string][]byte{v1alpha1.ClientIDKey: []byte("reports"), v1alpha1.ClientSecretKey: []byte(reportsSecret)},
	}))
	must(t, w.k8s.Create(w.ctx, install))
	must(t, w.k8s.Create(w.ctx, near))
	must(t, w.k8s.Create(w.ctx, far))

	cfg, err := cluster.ServiceAccount(w.ctx, w.ns, "keycard-operator", time.Hour)
	must(t, err)
	kubeconfig, err := cluster.WriteKubeconfig("keycard-operator-"+w.ns, cfg)
	must(t, err)
	cmd := exec.Command(binary, "--kubeconfig="+kubeconfig, "--leader-elect", "--leader-election-namespace="+w.ns,
		"--watch-namespaces="+w.ns+","+other.Name, "--cluster-id-namespace="+w.ns, "--metrics-bind-address=0",
		"--health-probe-bind-address=0", "--allow-insecure-loopback", "--atlassian-url="+w.zone.AtlassianURL)
	cmd.Stdout, cmd.Stderr = w.logs, w.logs
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended, unless the test failed
	w.untilReady(install)
	w.untilReady(near)
	// No watch reports the label: the binding is tried again by itself.
	kubectl("label", "namespace", other.Name, "confluence=true")
	w.untilReady(far)
	w.pages(w.output(far))
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err != nil {
		t.Errorf("the operator ended with %v", err)
	}
	if strings.Contains(strings.ToLower(w.logs.String()), "forbidden") {
		t.Errorf("something was forbidden: %s", w.logs)
	}
}
