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

	"github.com/keycardai/keycard-operator/internal/testenv"
)

// child makes the test binary start a node with a pod, and wait to be killed.
const child = "KEYCARD_E2E_CHILD"

// A test binary that is killed leaves no process and no mount behind, and the next run removes its cgroups.
func TestNothingIsLeftBehind(t *testing.T) {
	// A short path: those of sockets may have 107 bytes.
	dir, err := os.MkdirTemp("", "e2e-") //nolint:usetesting // t.TempDir has the name of the test
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	w := &world{dir: dir}
	if os.Getenv(child) != "" {
		w.runPodAndWait(t)
	}
	requireContainers(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNothingIsLeftBehind$", "-test.v") // #nosec G204 G702 -- this binary
	cmd.Env = append(os.Environ(), child+"=1", "TMPDIR="+w.dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	cgroup := testenv.CgroupPrefix + fmt.Sprint(cmd.Process.Pid)
	var printed strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "running" {
		fmt.Fprintln(&printed, lines.Text())
	}
	if found := w.traces(t, cgroup); len(found) == 0 {
		t.Errorf("there is nothing to be left behind:\n%s", printed.String())
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // says that it was killed
	err = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
		return len(w.traces(t, cgroup)) == 0, nil
	})
	if err != nil {
		t.Errorf("left behind: %q", w.traces(t, cgroup))
	}
	must(t, testenv.RemoveCgroups())
	left, err := filepath.Glob("/sys/fs/cgroup/*/" + cgroup)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// runPodAndWait never returns.
func (w *world) runPodAndWait(t *testing.T) {
	w.startCluster(t, buildImages(t))
	w.apply(t, "namespaces", "early")
	w.eventually(t, "the pod runs", func(ctx context.Context) (bool, error) {
		out, err := w.cluster.Kubectl(ctx, "-n", "reports", "get", "pod", "early", "-o", "jsonpath={.status.phase}")
		return out == string(corev1.PodRunning), err
	})
	fmt.Println("running")
	select {}
}

// traces are the mounts below the folder, and the processes that name it or are in a pod.
func (w *world) traces(t *testing.T, cgroup string) []string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/mounts")
	must(t, err)
	var found []string
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, w.dir) {
			found = append(found, line)
		}
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	for _, command := range commands {
		args, _ := os.ReadFile(command) // #nosec G304 -- found by the pattern; it may have ended
		groups, _ := os.ReadFile(filepath.Join(filepath.Dir(command), "cgroup"))
		if strings.Contains(string(args), w.dir) || strings.Contains(string(groups), "/"+cgroup) {
			found = append(found, string(args))
		}
	}
	return found
}
