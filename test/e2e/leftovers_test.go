// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/keycardai/keycard-operator/test/must"
	"github.com/keycardai/keycard-operator/test/testenv"
)

// child makes the test binary start a node with a pod, and wait to be killed.
const child = "KEYCARD_E2E_CHILD"

// started begins the line that a child prints once its pod runs: its cgroup and its network follow.
const started = "started"

// A test binary that is killed leaves no process, mount, network, link and rule behind, and the next run removes its
// cgroups.
func TestNothingIsLeftBehind(t *testing.T) {
	// A short path: those of sockets may have 107 bytes.
	dir, err := os.MkdirTemp("", "e2e-") //nolint:usetesting // t.TempDir has the name of the test
	must.Succeed(t, err)
	t.Cleanup(func() { must.Succeed(t, os.RemoveAll(dir)) })
	w := &world{dir: dir}
	if os.Getenv(child) != "" {
		w.runPodAndWait(t)
	}
	requireContainers(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNothingIsLeftBehind$", "-test.v") // #nosec G204 G702 -- this binary
	cmd.Env = append(os.Environ(), child+"=1", testenv.InsideEnv+"=", "TMPDIR="+w.dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must.Succeed(t, err)
	before := surroundings(t)
	must.Succeed(t, cmd.Start())
	var printed strings.Builder
	var cgroup, network string
	for lines := bufio.NewScanner(out); network == "" && lines.Scan(); {
		fmt.Fprintln(&printed, lines.Text())
		_, _ = fmt.Sscanf(lines.Text(), started+" %s %s", &cgroup, &network)
	}
	if network == "" {
		t.Fatalf("no pod ran:\n%s", printed.String())
	}
	if len(w.traces(t, cgroup, network)) == 0 {
		t.Error("there is nothing to be left behind")
	}
	must.Succeed(t, cmd.Process.Kill())
	_ = cmd.Wait() // says that it was killed
	err = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
		return len(w.traces(t, cgroup, network)) == 0, nil
	})
	if err != nil {
		t.Errorf("left behind: %q", w.traces(t, cgroup, network))
	}
	if after := surroundings(t); after != before {
		t.Errorf("what was around it has changed from\n%s\nto\n%s", before, after)
	}
	// Its process id is taken until the machine's first process has taken leave of it.
	var left []string
	err = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
		must.Succeed(t, testenv.RemoveCgroups())
		left, err = filepath.Glob("/sys/fs/cgroup/*/" + cgroup)
		return len(left) == 0, err
	})
	if err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// runPodAndWait never returns.
func (w *world) runPodAndWait(t *testing.T) {
	w.startCluster(t, imageArchives(t, nil))
	w.apply(t, "namespaces", "early")
	w.eventually(t, "the pod runs", func(ctx context.Context) (bool, error) {
		out, err := w.cluster.Kubectl(ctx, "-n", "reports", "get", "pod", "early", "-o", "jsonpath={.status.phase}")
		return out == string(corev1.PodRunning), err
	})
	network, err := os.Readlink("/proc/self/ns/net")
	must.Succeed(t, err)
	fmt.Println(started, testenv.CgroupPrefix+fmt.Sprint(os.Getpid()), network)
	select {}
}

// surroundings are the links and rules of the network that the child was started from, and what nodes have in folders
// of the machine.
func surroundings(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, command := range [][]string{{"ip", "-oneline", "address"}, {"nft", "list", "ruleset"}, {"ipset", "list", "-name"}} {
		out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput() // #nosec G204 -- of the list
		must.Succeed(t, err)
		fmt.Fprintf(&all, "%s: %s\n", command, out)
	}
	for _, pattern := range []string{"/run/containerd/*", "/run/netns/*", "/var/lib/cni/*", "/var/log/containers/*"} {
		files, err := filepath.Glob(pattern)
		must.Succeed(t, err)
		fmt.Fprintln(&all, files)
	}
	return all.String()
}

// traces are the mounts below the folder or of the network, and the processes that name the folder, or are in a pod or in
// the network.
func (w *world) traces(t *testing.T, cgroup, network string) []string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/mounts")
	must.Succeed(t, err)
	var found []string
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, w.dir) {
			found = append(found, line)
		}
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must.Succeed(t, err)
	for _, command := range commands {
		args, _ := os.ReadFile(command) // #nosec G304 -- found by the pattern; it may have ended
		groups, _ := os.ReadFile(filepath.Join(filepath.Dir(command), "cgroup"))
		mounts, _ := os.ReadFile(filepath.Join(filepath.Dir(command), "mountinfo"))
		inside, _ := os.Readlink(filepath.Join(filepath.Dir(command), "ns", "net"))
		if strings.Contains(string(args), w.dir) || strings.Contains(string(groups), "/"+cgroup) ||
			inside == network || strings.Contains(string(mounts), network) {
			found = append(found, string(args))
		}
	}
	return found
}
