// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package browser_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/controllers/consent"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// plugin is kubectl-keycard, as it is released.
var plugin = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "kubectl-keycard")
	var out strings.Builder
	if err := program.Go(context.Background(), &out, "-C", "../..", "build", "-o", path, "./cmd/kubectl-keycard"); err != nil {
		return "", &buildError{out.String()}
	}
	return path, nil
})

type buildError struct{ out string }

func (e *buildError) Error() string { return e.out }

// command is a run of the plugin.
type command struct {
	t       *testing.T
	cmd     *exec.Cmd
	out     bytes.Buffer
	browser string
	ended   chan struct{}
}

// runPlugin starts it with the permissions of cfg. Its browser is a program that keeps the link.
func (o *operated) runPlugin(cfg *rest.Config, args ...string) *command {
	o.t.Helper()
	path, err := plugin()
	if err != nil {
		o.t.Fatal(err)
	}
	kubeconfig, err := o.cluster.WriteKubeconfig("person", cfg)
	if err != nil {
		o.t.Fatal(err)
	}
	dir := o.t.TempDir()
	c := &command{t: o.t, browser: filepath.Join(dir, "link"), ended: make(chan struct{})}
	script := filepath.Join(dir, "browser")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nprintf %s \"$1\" >'"+c.browser+".new' && mv '"+c.browser+".new' '"+c.browser+"'\n"), 0o700); err != nil { // #nosec G306 -- it is a program
		o.t.Fatal(err)
	}
	args = append([]string{"consent", "reports", "-n", namespace, "--kubeconfig", kubeconfig, "--allow-insecure-loopback"}, args...)
	c.cmd = exec.CommandContext(o.t.Context(), path, args...) // #nosec G204 -- our own program
	c.cmd.Env = append(os.Environ(), "BROWSER="+script)
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	if err := c.cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	go func() {
		_ = c.cmd.Wait()
		close(c.ended)
	}()
	return c
}

// link is what the plugin opened.
func (c *command) link() string {
	c.t.Helper()
	var link []byte
	NewWithT(c.t).Eventually(func() (err error) {
		link, err = os.ReadFile(c.browser)
		return err
	}, patience, 20*time.Millisecond).Should(Succeed(), "the plugin opens a browser")
	return string(link)
}

// ends waits for the exit code, and gives what was printed.
func (c *command) ends(code int) string {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(time.Minute):
		c.t.Fatal("the plugin does not end")
	}
	out := c.out.String()
	if got := c.cmd.ProcessState.ExitCode(); got != code {
		c.t.Errorf("exit code %d, want %d:\n%s", got, code, out)
	}
	for _, canary := range []string{"dev-only-", "eyJ"} {
		if strings.Contains(out, canary) {
			c.t.Errorf("the plugin prints a secret:\n%s", out)
		}
	}
	return out
}

// Without a consent page the binding names the command. It takes her to the zone and back, and the binding is Ready.
func TestBindingIsReadyAfterThePlugin(t *testing.T) {
	g := NewWithT(t)
	o := operateWith(t, newZone(t, newSeed()), consent.Options{Application: true})
	b := o.apply("https://umbrella.atlassian.net")
	o.until(b, "its message names the command", func() bool {
		c := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionReady)
		return c != nil && strings.Contains(c.Message, "run kubectl keycard consent reports -n "+namespace)
	})
	g.Expect(b.Status.ConsentURL).To(BeEmpty())

	// She says no.
	p := newVisitor(t)
	c := o.runPlugin(o.cluster.Config)
	p.open(c.link())
	p.sees("May reports act for you?", "alice@example.com")
	p.press("button")
	p.signIn("alice")
	p.press("button[value=deny]")
	p.sees("Nothing was changed")
	g.Expect(c.ends(3)).To(ContainSubstring("consent was not given: the zone says access_denied"))

	// She says yes.
	c = o.runPlugin(o.cluster.Config)
	p.open(c.link())
	p.press("button")
	p.press("button[value=approve]")
	p.agreeAtAtlassian("alice", umbrella)
	p.sees("Thank you")
	consented := time.Now()
	out := c.ends(0)
	t.Logf("%s after the consent:\n%s", time.Since(consented).Round(time.Millisecond), out)
	g.Expect(out).To(ContainSubstring("is Ready: Secret token holds a token for https://umbrella.atlassian.net."))
	o.until(b, "it is Ready", func() bool { return ready(b) })

	// Somebody who may only look; and the zone, which knows her and her answer by now, sends her straight to Atlassian.
	viewer := o.viewer()
	c = o.runPlugin(viewer, "--timeout=1s")
	p.open(c.link())
	p.press("button")
	p.agreeAtAtlassian("alice", umbrella)
	p.sees("Thank you")
	out = c.ends(0)
	g.Expect(out).To(ContainSubstring("you may not change the binding"))
	g.Expect(out).To(ContainSubstring("kubectl annotate ctb reports -n " + namespace + " --overwrite " + v1alpha1.RefreshRequestedAtAnnotation + "="))
}

// What she chose does not do for the binding: the plugin says so at once.
func TestPluginSaysWhatIsWrong(t *testing.T) {
	g := NewWithT(t)
	o := operateWith(t, newZone(t, newSeed()), consent.Options{Application: true})
	b := o.apply("https://acme.atlassian.net")
	o.until(b, "it asks for consent", func() bool {
		c := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionReady)
		return c != nil && strings.Contains(c.Message, "kubectl keycard consent")
	})
	p := newVisitor(t)
	c := o.runPlugin(o.cluster.Config)
	p.open(c.link())
	p.press("button")
	p.signIn("alice")
	p.press("button[value=approve]")
	p.agreeAtAtlassian("alice", umbrella)
	p.sees("Thank you")
	g.Expect(c.ends(4)).To(ContainSubstring("is not Ready: SiteNotAccessible: "))

	stranger := o.person("stranger")
	g.Expect(o.runPlugin(stranger).ends(1)).To(ContainSubstring("you may not read ConfluenceTokenBinding team-a/reports; ask for the ClusterRole keycard-operator-view"))
	g.Expect(o.runPlugin(o.cluster.Config, "-n", "default").ends(1)).To(ContainSubstring("ConfluenceTokenBinding default/reports does not exist; list what there is with: kubectl get ctb -n default"))
	g.Expect(o.runPlugin(o.cluster.Config, "more").ends(2)).To(ContainSubstring("name one ConfluenceTokenBinding"))
	g.Expect(o.runPlugin(o.cluster.Config, "--port=70000").ends(2)).To(ContainSubstring("--port is 70000"))
	g.Expect(o.runPlugin(o.cluster.Config, "--allow-insecure-loopback=false").ends(1)).To(ContainSubstring("--allow-insecure-loopback allows it"))
}

// person is somebody whom the cluster knows, and who may do nothing yet.
func (o *operated) person(name string) *rest.Config {
	o.t.Helper()
	cfg := rest.CopyConfig(o.cluster.Config)
	cfg.Impersonate.UserName = name
	return cfg
}

// viewer is somebody who may look at the bindings.
func (o *operated) viewer() *rest.Config {
	o.t.Helper()
	cfg := o.person("viewer")
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "view"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"keycardresources", "confluencetokenbindings"}, Verbs: []string{"get"}},
	}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "view"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "viewer"}},
	}
	NewWithT(o.t).Expect(o.k8s.Create(o.t.Context(), role)).To(Succeed())
	NewWithT(o.t).Expect(o.k8s.Create(o.t.Context(), binding)).To(Succeed())
	return cfg
}
