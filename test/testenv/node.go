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

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/keycardai/keycard-operator/hack/kubernetes/assets"
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
	//go:embed cni.json
	cniConfig string
)

// Node is a kubelet with containerd, kube-proxy for Services, and kube-router for network policies. They run in a process and a mount namespace of their own, so that the
// kernel ends whatever they started and takes their mounts away when the namespace's first process ends.
type Node struct {
	// Dir holds the node's files.
	Dir string

	c             *ControlPlane
	init, kubelet *process
	// others are those that are never restarted.
	others []*process
	// CgroupName is the cgroup below which pods are.
	CgroupName string
	// The addresses.
	MetricsPort, KubeletPort, HealthPort int

	PodNetwork string
	// Runc is a program, and Assets the folder with the others.
	Runc, Assets string
}

// CheckContainers says why this machine can't run a node, or nothing.
func CheckContainers() error {
	if os.Geteuid() != 0 {
		return errors.New("running containers needs root")
	}
	for _, name := range append([]string{"runc", "unshare", "nsenter", "mount", "setpriv"}, networkPrograms...) {
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

// StartNode adds a node to a control plane that was started with Pods, and waits until it is ready. Pods have a network,
// Services and network policies, but no names: there is no DNS. Images are loaded, not pulled. With an
// error there is what has been started of it, for its logs.
func (c *ControlPlane) StartNode(ctx context.Context, images ...string) (*Node, error) {
	n := &Node{
		c: c, Dir: filepath.Join(c.Dir, "node"), CgroupName: fmt.Sprintf("%s%d", CgroupPrefix, os.Getpid()),
		PodNetwork: podNetwork, Assets: c.assets,
	}
	c.node = n
	if err := errors.Join(RemoveCgroups(), makeCgroups(n.CgroupName), c.onOneThread(n.start)); err != nil {
		return n, err
	}
	for _, image := range images {
		if err := n.load(ctx, image); err != nil {
			return n, err
		}
	}
	for _, step := range []func() error{n.startKubelet, n.startProxy, func() error { return n.awaitReady(ctx) }, n.startRouter} {
		if err := c.onOneThread(step); err != nil {
			return n, err
		}
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
	for _, dir := range []string{"pod-logs", "cni"} {
		if err := os.MkdirAll(filepath.Join(n.Dir, dir), 0o700); err != nil {
			return fmt.Errorf("making a folder for the node: %w", err)
		}
	}
	for name, text := range map[string]string{
		"containerd.toml": containerdConfig, "kubelet.yaml": kubeletConfig, "cni/pods.conflist": cniConfig,
	} {
		if err := n.write(name, text); err != nil {
			return err
		}
	}
	if err := n.startInit(); err != nil {
		return err
	}
	return n.run("containerd", fmt.Sprintf("http://127.0.0.1:%d/v1/metrics", n.MetricsPort),
		"--config", filepath.Join(n.Dir, "containerd.toml"))
}

// run starts a program inside of the namespace that stays to the end.
func (n *Node) run(name, ready string, args ...string) error {
	p, err := n.enter(name, ready, args...)
	if err != nil {
		return err
	}
	n.others = append(n.others, p)
	return p.start()
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
for dir in /run/containerd /var/lib/cni /var/log/containers; do
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
	kubeconfig, err := n.kubeconfig("kubelet", envtest.User{Name: "system:node:" + NodeName, Groups: []string{"system:nodes"}})
	if err != nil {
		return err
	}
	n.kubelet, err = n.enter("kubelet", fmt.Sprintf("http://127.0.0.1:%d/healthz", n.HealthPort),
		"--config", filepath.Join(n.Dir, "kubelet.yaml"), "--kubeconfig", kubeconfig, "--hostname-override", NodeName,
		"--node-ip", string(NodeAddress), "--root-dir", filepath.Join(n.Dir, "kubelet"), "--cert-dir", filepath.Join(n.Dir, "pki"))
	if err != nil {
		return err
	}
	return n.kubelet.start()
}

func (n *Node) kubeconfig(name string, user envtest.User) (string, error) {
	added, err := n.c.env.AddUser(user, nil)
	if err != nil {
		return "", fmt.Errorf("adding a user for %s: %w", name, err)
	}
	return n.c.WriteKubeconfig(name, added.Config())
}

// startProxy starts kube-proxy, without which the address of the Service kubernetes leads nowhere. Its permissions are
// those that kube-apiserver has for it.
func (n *Node) startProxy() error {
	kubeconfig, err := n.kubeconfig("kube-proxy", envtest.User{Name: "system:kube-proxy"})
	if err != nil {
		return err
	}
	return n.run("kube-proxy", "http://127.0.0.1:10256/healthz",
		"--kubeconfig", kubeconfig, "--hostname-override", NodeName, "--proxy-mode", "nftables",
		// The kernel has these once for all namespaces, and refuses to change them in this one.
		"--conntrack-max-per-core", "0", "--conntrack-min", "0",
		"--conntrack-tcp-timeout-established", "0", "--conntrack-tcp-timeout-close-wait", "0")
}

// startRouter starts the one of kube-router's parts that enforces network policies.
func (n *Node) startRouter() error {
	kubeconfig, err := n.kubeconfig("kube-router", envtest.User{Name: "kube-router", Groups: []string{"system:masters"}})
	if err != nil {
		return err
	}
	return n.run("kube-router", "http://127.0.0.1:20244/healthz",
		"--run-firewall=true", "--run-router=false", "--run-service-proxy=false", "--run-loadbalancer=false", "--enable-ipv6=false",
		"--kubeconfig", kubeconfig, "--hostname-override", NodeName, "--service-cluster-ip-range", serviceNetwork)
}

// awaitReady waits until pods may be scheduled.
func (n *Node) awaitReady(ctx context.Context) error {
	var out string
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, startTimeout, true, func(ctx context.Context) (bool, error) {
		var err error
		out, err = n.c.Kubectl(ctx, "get", "node", NodeName, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status} {.spec.taints}`)
		return err == nil && out == string(corev1.ConditionTrue)+" ", nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the node: %w: %s", err, out)
	}
	return nil
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

// PodProcess is the id of a process of a pod: any, or that of a container with a program's name.
func (n *Node) PodProcess(podUID, program string) (int, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return 0, fmt.Errorf("finding the processes of a pod: %w", err)
	}
	for _, path := range paths {
		groups, _ := os.ReadFile(path)                                    // #nosec G304 -- found by the pattern; it may have ended
		name, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "comm")) // #nosec G304 -- as above
		if strings.Contains(string(groups), "/"+n.CgroupName+"/") && strings.Contains(string(groups), "/pod"+podUID+"/") &&
			(program == "" || strings.TrimSpace(string(name)) == program) {
			return strconv.Atoi(filepath.Base(filepath.Dir(path)))
		}
	}
	return 0, fmt.Errorf("no process of the pod %s is called %q", podUID, program)
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
	for _, p := range append(n.others, n.kubelet) {
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
