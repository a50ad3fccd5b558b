// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"debug/buildinfo"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/keycardai/keycard-operator/hack/kubernetes/assets"
)

// binary is a program that can be built.
type binary struct {
	// name is the file's.
	name string
	// pin is the folder of the module whose go.mod decides the version.
	pin string
	// module and pkg are the program's module and package.
	module, pkg string
	// node is set for what a node runs, which is built on demand.
	node bool
}

// known lists the programs in the order of building: what comes first has the packages of the next ones.
var known = []binary{
	{name: "etcd", pin: assets.Etcd, module: "go.etcd.io/etcd/server/v3", pkg: "go.etcd.io/etcd/server/v3"},
	kubernetes("kube-apiserver"),
	kubernetes("kube-controller-manager"),
	kubernetes("kubectl"),
	ofNode(kubernetes("kubelet")),
	ofNode(kubernetes("kube-scheduler")),
	ofNode(kubernetes("kube-proxy")),
	ofNode(containerd("containerd")),
	ofNode(containerd("containerd-shim-runc-v2")),
	ofNode(containerd("ctr")),
	ofNode(plugin("main/bridge")),
	ofNode(plugin("ipam/host-local")),
	ofNode(binary{name: "kube-router", pin: assets.KubeRouter, module: kubeRouter, pkg: kubeRouter + "/cmd/kube-router"}),
}

const kubeRouter = "github.com/cloudnativelabs/kube-router/v2"

func kubernetes(name string) binary {
	return binary{name: name, pin: assets.ControlPlane, module: "k8s.io/kubernetes", pkg: "k8s.io/kubernetes/cmd/" + name}
}

func containerd(name string) binary {
	const module = "github.com/containerd/containerd/v2"
	return binary{name: name, pin: assets.Containerd, module: module, pkg: module + "/cmd/" + name}
}

// plugin is one that containerd runs for a pod's network, in the version that containerd itself is built with.
func plugin(path string) binary {
	const module = "github.com/containernetworking/plugins"
	return binary{name: filepath.Base(path), pin: assets.Containerd, module: module, pkg: module + "/plugins/" + path}
}

func ofNode(b binary) binary {
	b.node = true
	return b
}

// selected gives the programs of a control plane, and those of a node where wanted.
func selected(node bool) []binary {
	var list []binary
	for _, b := range known {
		if node || !b.node {
			list = append(list, b)
		}
	}
	return list
}

// buildArgs are the arguments of the go command. They win over a GOFLAGS that would not fit these modules.
func (b binary) buildArgs(root, version, output string) []string {
	ldflags := "-s -w"
	if b.pin == assets.ControlPlane {
		// Without it the programs call themselves v0.0.0 and refuse to speak with each other.
		ldflags += " -X k8s.io/component-base/version.gitVersion=" + version
	}
	return []string{
		"-C", filepath.Join(root, b.pin), "build", "-mod=readonly", "-race=false", "-buildvcs=false", "-trimpath",
		"-ldflags=" + ldflags, "-o", output, b.pkg,
	}
}

// current tells whether a file is the program in that version, built for this machine.
func (b binary) current(path, version string) bool {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return false
	}
	return info.Main.Path == b.module && info.Main.Version == version &&
		setting(info, "GOOS") == runtime.GOOS && setting(info, "GOARCH") == runtime.GOARCH
}

func setting(info *debug.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}
