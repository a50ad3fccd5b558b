// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"k8s.io/client-go/util/cert"
)

// Address is one of the network namespace of a cluster with pods, see InOwnNetwork, which pods reach. The addresses are
// of those that are kept for documentation, and so are nobody's.
type Address string

// The addresses. What is on one, each may listen at a port of its choice.
const (
	// NodeAddress is the node's, and kube-apiserver's.
	NodeAddress      Address = "192.0.2.1"
	ZoneAddress      Address = "192.0.2.2"
	APIAddress       Address = "192.0.2.3"
	AtlassianAddress Address = "192.0.2.4"
)

// addresses are all of them.
var addresses = []Address{NodeAddress, ZoneAddress, APIAddress, AtlassianAddress}

// Port adds a port.
func (a Address) Port(port int) string { return net.JoinHostPort(string(a), fmt.Sprint(port)) }

const (
	// apiPort is one that the shipped NetworkPolicy lets pods of the operator reach, as in most clusters.
	apiPort = 6443
	// serviceNetwork has the addresses of Services, and serviceAddress is that of the first, kubernetes.
	serviceNetwork = "10.0.0.0/24"
	serviceAddress = "10.0.0.1"
	// podNetwork has the addresses of pods.
	podNetwork = "10.1.0.0/24"
)

// networkPrograms are those that kube-proxy and kube-router run, and ip.
var networkPrograms = []string{"ip", "nft", "iptables", "ipset"}

// servePods makes kube-apiserver one for nodes. It listens where pods reach it, with a certificate that is good for the
// Service kubernetes too: the one that envtest makes names nothing but where it listens.
func (c *ControlPlane) servePods() error {
	api := c.env.ControlPlane.GetAPIServer()
	api.Address, api.Port = string(NodeAddress), fmt.Sprint(apiPort)
	// The timeout is how long kube-apiserver waits for its clients when it is stopped, see Restart.
	api.Configure().Set("external-hostname", string(NodeAddress)).Set("service-cluster-ip-range", serviceNetwork).
		Set("authorization-mode", "Node", "RBAC").Append("enable-admission-plugins", "NodeRestriction").
		Set("request-timeout", "10s").Disable("disable-admission-plugins")
	for name, addresses := range map[string][]net.IP{
		"apiserver": {net.ParseIP(serviceAddress)},
		// It signs the tokens of ServiceAccounts. envtest makes all or none.
		"sa-signer": nil,
	} {
		certificate, key, err := cert.GenerateSelfSignedCertKey(string(NodeAddress), addresses, []string{"localhost"})
		if err != nil {
			return fmt.Errorf("making a certificate: %w", err)
		}
		for suffix, data := range map[string][]byte{".crt": certificate, ".key": key} {
			if err := os.WriteFile(filepath.Join(api.CertDir, name+suffix), data, 0o600); err != nil {
				return fmt.Errorf("writing a certificate: %w", err)
			}
		}
		if name == "apiserver" {
			api.CA = certificate
		}
	}
	return nil
}
