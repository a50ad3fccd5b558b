// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package testenv starts a real Kubernetes control plane for tests and for the demo: etcd and
// kube-apiserver, and where wanted kube-controller-manager and a node with a network of pods, built by `make kubernetes`
// and `make node`.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/keycardai/keycard-operator/hack/kubernetes/assets"
)

// stopTimeout is how long a process may take to end: kube-apiserver waits for its clients first.
const stopTimeout = time.Minute

// Options say what to start.
type Options struct {
	// ControllerManager starts kube-controller-manager too: garbage collection and the deletion of
	// namespaces need it.
	ControllerManager bool
	// CRDs installs the operator's CRDs from config/crd/bases.
	CRDs bool
	// Pods makes the control plane one that runs Deployments on a node, see StartNode: with kube-scheduler, the
	// controllers for it, the admission of ServiceAccounts, and the authorizer of nodes. It listens at NodeAddress,
	// which is there within InOwnNetwork.
	Pods bool
	// Log is where the processes write, a folder; empty means nowhere.
	Log string
	// AuditUser is the user whose requests the API server writes into AuditLog; empty means nobody.
	AuditUser string
}

// ControlPlane is a running control plane.
type ControlPlane struct {
	// Config is the administrator's.
	Config *rest.Config
	// Dir holds all files of the control plane, and kubeconfig files; it goes with the control plane.
	Dir string

	assets string
	env    *envtest.Environment
	// managers are kube-controller-manager and kube-scheduler.
	managers []*process
	logs     []*os.File
	node     *Node
	// thread runs what starts programs.
	thread chan func()
}

// Start starts a control plane on loopback ports that the system chooses. What was started is stopped
// again when an error is returned.
func Start(o Options) (*ControlPlane, error) {
	binaries, err := assets.Find()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "keycard-control-plane-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for the control plane: %w", err)
	}
	c := &ControlPlane{Dir: dir, assets: binaries}
	if err := c.onOneThread(func() error { return c.start(o) }); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *ControlPlane) start(o Options) error {
	c.env = &envtest.Environment{
		BinaryAssetsDirectory:    c.assets,
		ControlPlaneStartTimeout: startTimeout,
		ControlPlaneStopTimeout:  stopTimeout,
	}
	if err := c.prepareServers(); err != nil {
		return err
	}
	if o.Pods {
		if err := c.servePods(); err != nil {
			return err
		}
	}
	if o.CRDs {
		root, err := assets.Root()
		if err != nil {
			return err
		}
		c.env.CRDDirectoryPaths = []string{filepath.Join(root, "config", "crd", "bases")}
		c.env.ErrorIfCRDPathMissing = true
	}
	if o.Log != "" {
		if err := c.logTo(o.Log); err != nil {
			return err
		}
	}
	if o.AuditUser != "" {
		if err := c.audit(o.AuditUser); err != nil {
			return err
		}
	}
	cfg, err := c.env.Start()
	if err != nil {
		return fmt.Errorf("starting etcd and kube-apiserver: %w", err)
	}
	c.Config = cfg
	return c.startManagers(o)
}

// prepareServers keeps all files of etcd and kube-apiserver in Dir.
func (c *ControlPlane) prepareServers() (err error) {
	etcd, api := &envtest.Etcd{DataDir: filepath.Join(c.Dir, "etcd-data")}, c.env.ControlPlane.GetAPIServer()
	c.env.ControlPlane.Etcd = etcd
	api.CertDir = filepath.Join(c.Dir, "kube-apiserver-certs")
	for _, dir := range []string{etcd.DataDir, api.CertDir} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("making a folder for a server: %w", err)
		}
	}
	// Where its discovery document says that the keys of ServiceAccounts are has to be where it listens.
	api.Configure().Set("external-hostname", "127.0.0.1")
	if etcd.Path, err = c.program("etcd"); err != nil {
		return err
	}
	// As some distributions have it: who sets a blocking owner reference needs a permission for that.
	api.Configure().Append("enable-admission-plugins", "OwnerReferencesPermissionEnforcement")
	api.Path, err = c.program("kube-apiserver")
	return err
}

func (c *ControlPlane) logTo(dir string) error {
	api, err := c.logFile(dir, "kube-apiserver.log")
	if err != nil {
		return err
	}
	etcd, err := c.logFile(dir, "etcd.log")
	if err != nil {
		return err
	}
	c.env.ControlPlane.GetAPIServer().Out, c.env.ControlPlane.GetAPIServer().Err = api, api
	c.env.ControlPlane.Etcd.Out, c.env.ControlPlane.Etcd.Err = etcd, etcd
	return nil
}

func (c *ControlPlane) logFile(dir, name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) // #nosec G304 -- the caller's own folder
	if err != nil {
		return nil, fmt.Errorf("opening a log: %w", err)
	}
	c.logs = append(c.logs, f)
	return f, nil
}

// startManagers starts kube-controller-manager and kube-scheduler where they are wanted.
func (c *ControlPlane) startManagers(o Options) error {
	if !o.ControllerManager && !o.Pods {
		return nil
	}
	args := []string{
		"--controllers=namespace-controller,garbage-collector-controller,serviceaccount-controller",
		"--concurrent-gc-syncs=5", "--kube-api-qps=100", "--kube-api-burst=200",
	}
	if o.Pods {
		more, err := c.controllersOfPods()
		if err != nil {
			return err
		}
		args = append(args, more...)
	}
	if err := c.startManager(o, "kube-controller-manager", args...); err != nil || !o.Pods {
		return err
	}
	return c.startManager(o, "kube-scheduler")
}

// startManager starts kube-controller-manager or kube-scheduler with its own identity, and waits until it answers.
func (c *ControlPlane) startManager(o Options, name string, args ...string) error {
	user, err := c.env.AddUser(envtest.User{Name: "system:" + name, Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return fmt.Errorf("adding a user for %s: %w", name, err)
	}
	kubeconfig, err := c.WriteKubeconfig(name, user.Config())
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	path, err := c.program(name)
	if err != nil {
		return err
	}
	p := &process{
		name: name,
		path: path,
		args: append([]string{
			"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
			"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--cert-dir=" + c.Dir, "--leader-elect=false",
		}, args...),
		ready: fmt.Sprintf("https://127.0.0.1:%d/healthz", port),
	}
	if o.Log != "" {
		if p.log, err = c.logFile(o.Log, name+".log"); err != nil {
			return err
		}
	}
	c.managers = append(c.managers, p)
	return p.start()
}

// controllersOfPods gives the arguments for the controllers that pods need. The last mention of a flag counts.
func (c *ControlPlane) controllersOfPods() ([]string, error) {
	ca := filepath.Join(c.Dir, "ca.crt")
	if err := os.WriteFile(ca, c.Config.CAData, 0o600); err != nil {
		return nil, fmt.Errorf("writing the cluster's CA: %w", err)
	}
	return []string{
		"--root-ca-file=" + ca,
		"--controllers=deployment-controller,replicaset-controller,root-ca-certificate-publisher-controller,node-lifecycle-controller",
	}, nil
}

// Restart stops the managers, kube-apiserver and etcd, and starts them again, with their data and on their ports. It returns
// once kube-apiserver answers; the managers are ready soon after.
func (c *ControlPlane) Restart() error {
	api, etcd := c.env.ControlPlane.GetAPIServer(), c.env.ControlPlane.Etcd
	var steps []func() error
	for _, p := range c.managers {
		steps = append(steps, p.stop)
	}
	steps = append(steps, api.Stop, etcd.Stop, etcd.Start, api.Start)
	for _, p := range c.managers {
		steps = append(steps, p.launch)
	}
	return c.onOneThread(func() error {
		for _, step := range steps {
			if err := step(); err != nil {
				return fmt.Errorf("restarting the control plane: %w", err)
			}
		}
		return nil
	})
}

// Stop ends every process that was started and removes their files. It may be called twice.
func (c *ControlPlane) Stop() error {
	var errs []error
	if c.node != nil {
		errs = append(errs, c.node.stop())
		c.node = nil
	}
	for _, p := range c.managers {
		errs = append(errs, p.stop())
	}
	c.managers = nil
	if c.env != nil {
		errs = append(errs, c.env.Stop())
		c.env = nil
	}
	for _, f := range c.logs {
		errs = append(errs, f.Close())
	}
	c.logs = nil
	c.release()
	return errors.Join(append(errs, os.RemoveAll(c.Dir))...)
}

// Kubectl runs kubectl as the administrator and gives what it printed, errors included.
func (c *ControlPlane) Kubectl(ctx context.Context, args ...string) (string, error) {
	kubeconfig, err := c.WriteKubeconfig("admin", c.Config)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(c.assets, "kubectl"), append([]string{"--kubeconfig", kubeconfig}, args...)...) // #nosec G204 -- a test's own arguments
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("running kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// KubectlPath is where kubectl is.
func (c *ControlPlane) KubectlPath() string { return filepath.Join(c.assets, "kubectl") }

// ServiceAccount gives the configuration of a ServiceAccount: with its token and its permissions, and
// nothing of the administrator's.
func (c *ControlPlane) ServiceAccount(ctx context.Context, namespace, name string, lifetime time.Duration) (*rest.Config, error) {
	clients, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(lifetime.Seconds()))}}
	token, err := clients.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("requesting a token for ServiceAccount %s/%s: %w", namespace, name, err)
	}
	cfg := rest.AnonymousClientConfig(c.Config)
	cfg.BearerToken = token.Status.Token
	return cfg, nil
}

// WriteKubeconfig writes a kubeconfig file and gives its path. The file changes all at once: others may be reading it.
func (c *ControlPlane) WriteKubeconfig(name string, cfg *rest.Config) (string, error) {
	config := clientcmdapi.NewConfig()
	config.Clusters["local"] = &clientcmdapi.Cluster{Server: server(cfg.Host), CertificateAuthorityData: cfg.CAData}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{
		ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData, Token: cfg.BearerToken,
		Impersonate: cfg.Impersonate.UserName,
	}
	config.Contexts["local"] = &clientcmdapi.Context{Cluster: "local", AuthInfo: name}
	config.CurrentContext = "local"
	path := filepath.Join(c.Dir, name+".kubeconfig")
	temp, err := os.MkdirTemp(c.Dir, ".kubeconfig-*")
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	written := filepath.Join(temp, "config")
	if err = clientcmd.WriteToFile(*config, written); err == nil {
		err = os.Rename(written, path)
	}
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", path, err)
	}
	return path, nil
}

func server(host string) string {
	if strings.Contains(host, "://") {
		return host
	}
	return "https://" + host
}
