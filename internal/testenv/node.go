// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/keycardai/keycard-operator/internal/testenv/assets"
)

// NodeName is the name of the node.
const NodeName = "node"

// PauseImage is the image of every pod's sandbox. Whoever starts a node loads it: a program that waits.
const PauseImage = "example.com/pause:e2e"

var (
	//go:embed containerd.toml
	containerdConfig string
	//go:embed kubelet.yaml
	kubeletConfig string
)

// Node is a kubelet with containerd. They run in a process and a mount namespace of their own, so that the
// kernel ends whatever they started and takes their mounts away when the namespace's first process ends.
type Node struct {
	// Dir holds the node's files.
	Dir string

	c                         *ControlPlane
	init, containerd, kubelet *process
	// CgroupName is the cgroup below which pods are.
	CgroupName string
	// The addresses.
	MetricsPort, KubeletPort, HealthPort int
	Runc                                 string
}

// CheckContainers says why this machine can't run a node, or nothing.
func CheckContainers() error {
	if os.Geteuid() != 0 {
		return errors.New("running containers needs root")
	}
	for _, name := range []string{"runc", "unshare", "nsenter", "mount", "setpriv"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("running containers needs %s: %w", name, err)
		}
	}
	dir, err := assets.Find()
	if err != nil {
		return err
	}
	return assets.CheckNode(dir)
}

// StartNode adds a node to a control plane that was started with Pods. There is no network of pods: they
// use the host's, name the node, and reach kube-apiserver at its own address. Images are loaded, not pulled.
func (c *ControlPlane) StartNode(ctx context.Context, images ...string) (*Node, error) {
	n := &Node{c: c, Dir: filepath.Join(c.Dir, "node"), CgroupName: fmt.Sprintf("%s%d", CgroupPrefix, os.Getpid())}
	c.node = n
	if err := errors.Join(RemoveCgroups(), makeCgroups(n.CgroupName), c.onOneThread(n.start)); err != nil {
		return nil, err
	}
	for _, image := range images {
		if err := n.load(ctx, image); err != nil {
			return nil, err
		}
	}
	if err := c.onOneThread(n.startKubelet); err != nil {
		return nil, err
	}
	return n, nil
}

// start starts the namespace and containerd.
func (n *Node) start() (err error) {
	if n.Runc, err = exec.LookPath("runc"); err != nil {
		return fmt.Errorf("finding runc: %w", err)
	}
	for _, port := range []*int{&n.MetricsPort, &n.KubeletPort, &n.HealthPort} {
		if *port, err = freePort(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(n.Dir, "pod-logs"), 0o700); err != nil {
		return fmt.Errorf("making a folder for the node: %w", err)
	}
	for name, text := range map[string]string{"containerd.toml": containerdConfig, "kubelet.yaml": kubeletConfig} {
		if err := n.write(name, text); err != nil {
			return err
		}
	}
	if err := n.startInit(); err != nil {
		return err
	}
	n.containerd, err = n.enter("containerd", fmt.Sprintf("http://127.0.0.1:%d/v1/metrics", n.MetricsPort),
		"--config", filepath.Join(n.Dir, "containerd.toml"))
	if err != nil {
		return err
	}
	return n.containerd.start()
}

func (n *Node) write(name, text string) error {
	var out bytes.Buffer
	if err := template.Must(template.New(name).Parse(text)).Execute(&out, n); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := os.WriteFile(filepath.Join(n.Dir, name), out.Bytes(), 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// first is the first process of the namespace: it waits, and takes leave of orphans. The folders are those
// that containerd and kubelet won't have elsewhere.
const first = `set -e
for dir in /run/containerd /var/log/containers; do
  mkdir -p $dir
  mount -t tmpfs node $dir
done
trap : TERM
while true; do sleep 60 & wait $! || true; done`

func (n *Node) startInit() error {
	n.init = &process{name: "unshare", path: "setpriv", inner: true, args: []string{
		"--pdeathsig", "KILL", "--", "unshare", "--fork", "--pid", "--mount", "--mount-proc", "--propagation", "private",
		"--kill-child=KILL", "sh", "-c", first,
	}}
	if err := n.init.start(); err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(context.Background(), 20*time.Millisecond, startTimeout, true, func(context.Context) (bool, error) {
		mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", n.init.child()))
		return err == nil && bytes.Contains(mounts, []byte("node /var/log/containers tmpfs")), nil
	})
}

// enter is a program inside of the namespace.
func (n *Node) enter(name, ready string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(n.Dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) // #nosec G304 -- the node's own folder
	if err != nil {
		return nil, fmt.Errorf("opening a log: %w", err)
	}
	n.c.logs = append(n.c.logs, log)
	return &process{name: name, path: "nsenter", ready: ready, inner: true, log: log, args: append([]string{
		"--target", strconv.Itoa(n.init.child()), "--pid", "--mount", "--",
		// containerd looks for its shim on the PATH.
		"env", "PATH=" + n.c.assets + ":" + os.Getenv("PATH"), filepath.Join(n.c.assets, name),
	}, args...)}, nil
}

// load makes an image archive known to containerd.
func (n *Node) load(ctx context.Context, archive string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(n.c.assets, "ctr"), "-a", filepath.Join(n.Dir, "containerd.sock"), "-n", "k8s.io", // #nosec G204 -- ours
		"images", "import", "--local", "--snapshotter", "native", archive)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("loading %s: %w: %s", archive, err, out)
	}
	return nil
}

// startKubelet starts it with the identity of a node, and no other permissions.
func (n *Node) startKubelet() error {
	user, err := n.c.env.AddUser(envtest.User{Name: "system:node:" + NodeName, Groups: []string{"system:nodes"}}, nil)
	if err != nil {
		return fmt.Errorf("adding a user for kubelet: %w", err)
	}
	kubeconfig, err := n.c.WriteKubeconfig("kubelet", user.Config())
	if err != nil {
		return err
	}
	n.kubelet, err = n.enter("kubelet", fmt.Sprintf("http://127.0.0.1:%d/healthz", n.HealthPort),
		"--config", filepath.Join(n.Dir, "kubelet.yaml"), "--kubeconfig", kubeconfig, "--hostname-override", NodeName,
		"--root-dir", filepath.Join(n.Dir, "kubelet"), "--cert-dir", filepath.Join(n.Dir, "pki"))
	if err != nil {
		return err
	}
	return n.kubelet.start()
}

// RestartKubelet ends kubelet and starts it again; containers go on.
func (n *Node) RestartKubelet() error {
	return errors.Join(n.kubelet.stop(), n.c.onOneThread(n.startKubelet))
}

// Volume is the folder that a container sees as a mounted Secret. Only processes of this machine reach it.
func (n *Node) Volume(podUID, volume string) string {
	return filepath.Join(fmt.Sprintf("/proc/%d/root", n.init.child()), n.Dir, "kubelet", "pods", podUID, "volumes", "kubernetes.io~secret", volume)
}

// PodLogs are the logs of a pod's container, those of its earlier runs included.
func (n *Node) PodLogs(namespace, pod, container string) (string, error) {
	paths, err := filepath.Glob(filepath.Join(n.Dir, "pod-logs", namespace+"_"+pod+"_*", container, "*.log"))
	if err != nil {
		return "", fmt.Errorf("finding the logs of a pod: %w", err)
	}
	var all strings.Builder
	for _, path := range paths {
		raw, err := os.ReadFile(path) // #nosec G304 -- the node's own folder
		if err != nil {
			return "", fmt.Errorf("reading the logs of a pod: %w", err)
		}
		all.Write(raw)
	}
	return all.String(), nil
}

// stop ends everything of the node at once: with the namespace's first process.
func (n *Node) stop() error {
	if n.init == nil || n.init.cmd == nil {
		return nil
	}
	if n.init.child() > 0 {
		n.init.signal(9)
	}
	err := n.init.stop()
	for _, p := range []*process{n.kubelet, n.containerd} {
		if p != nil && p.done != nil {
			<-p.done
		}
	}
	return errors.Join(err, RemoveCgroups())
}

// CgroupPrefix begins the names of the nodes' cgroups; the rest is the process id of who started the node.
const CgroupPrefix = "keycard-node-"

// makeCgroups makes a cgroup of each hierarchy: kubelet wants its root to be there.
func makeCgroups(name string) error {
	const root = "/sys/fs/cgroup"
	hierarchies, err := filepath.Glob(root + "/*/cgroup.procs")
	if _, v2 := os.Stat(root + "/cgroup.procs"); v2 == nil {
		hierarchies = []string{root + "/cgroup.procs"}
	}
	errs := []error{err}
	for _, procs := range hierarchies {
		if err := os.Mkdir(filepath.Join(filepath.Dir(procs), name), 0o755); err != nil && !errors.Is(err, fs.ErrExist) { // #nosec G301 -- as others there
			errs = append(errs, fmt.Errorf("making a cgroup: %w", err))
		}
	}
	return errors.Join(errs...)
}

// RemoveCgroups removes the cgroups of this process's node, and of processes that are gone.
func RemoveCgroups() error {
	var errs []error
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		roots, err := filepath.Glob(pattern + CgroupPrefix + "*")
		errs = append(errs, err)
		for _, root := range roots {
			pid := strings.TrimPrefix(filepath.Base(root), CgroupPrefix)
			if _, err := os.Stat("/proc/" + pid); err == nil && pid != strconv.Itoa(os.Getpid()) {
				continue
			}
			errs = append(errs, removeCgroup(root))
		}
	}
	return errors.Join(errs...)
}

// removeCgroup removes a cgroup and those below it. It is busy until the kernel is done with its processes.
func removeCgroup(root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("finding cgroups: %w", err)
	}
	for _, dir := range slices.Backward(dirs) {
		if err := wait.PollUntilContextTimeout(context.Background(), 50*time.Millisecond, stopTimeout, true, func(context.Context) (bool, error) {
			err := os.Remove(dir)
			return err == nil || errors.Is(err, fs.ErrNotExist), nil
		}); err != nil {
			return fmt.Errorf("removing the cgroup %s: %w", dir, err)
		}
	}
	return nil
}
