// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/keycardai/keycard-operator/test/must"
	"github.com/keycardai/keycard-operator/test/testenv"
)

// dialTimeout is how long a connection, or an answer to datagrams, may take. What a policy forbids is refused at once.
const dialTimeout = 2 * time.Second

// way is a connection from a pod to an address, or datagrams that want an answer.
type way struct {
	what    string
	network string
	from    int
	to      string
	// allowed is what the shipped policy says.
	allowed bool
}

// networkPolicy tries ways into and out of the operator's pods: those that the shipped policy allows, and those that
// it forbids. The latter are open while the policy is away, so that it is the policy that closes them.
func (w *world) networkPolicy(t *testing.T) {
	ways := w.ways(t)
	w.expectWays(t, "under the shipped policy", ways, func(y way) bool { return y.allowed })
	w.kubectl(t, "-n", "keycard-system", "delete", "networkpolicy", "keycard-operator")
	w.expectWays(t, "without a policy", ways, func(way) bool { return true })
	w.kubectl(t, "apply", "--server-side", "-k", w.dir)
	w.expectWays(t, "under the policy again", ways, func(y way) bool { return y.allowed })
}

// ways are those to try. Something listens at the end of each.
func (w *world) ways(t *testing.T) []way {
	t.Helper()
	operatorPod, otherPod := w.operators(t)[0], w.pod(t, "early")
	operator, other := w.process(t, operatorPod.UID, "operator"), w.process(t, otherPod.UID, "pause")
	operatorIP, otherIP := operatorPod.Status.PodIP, otherPod.Status.PodIP
	w.listen(t, operator, net.JoinHostPort(operatorIP, "8443"))
	w.listen(t, other, net.JoinHostPort(otherIP, "443"))
	w.listen(t, other, net.JoinHostPort(otherIP, "8081"))
	for _, port := range []int{53, 8443} {
		w.listen(t, 0, testenv.NodeAddress.Port(port))
		echo(t, testenv.NodeAddress.Port(port))
	}
	return []way{
		{"a pod to the operator's probes", "tcp", other, net.JoinHostPort(operatorIP, "8081"), true},
		{"a pod to another port of the operator", "tcp", other, net.JoinHostPort(operatorIP, "8443"), false},
		{"the operator to the Service kubernetes", "tcp", operator, "10.0.0.1:443", true},
		{"the operator to the API server", "tcp", operator, testenv.NodeAddress.Port(6443), true},
		{"the operator to the zone", "tcp", operator, testenv.ZoneAddress.Port(443), true},
		{"the operator to DNS", "udp", operator, testenv.NodeAddress.Port(53), true},
		{"the operator to DNS by TCP", "tcp", operator, testenv.NodeAddress.Port(53), true},
		{"the operator to another port of the node", "tcp", operator, testenv.NodeAddress.Port(8443), false},
		{"the operator to another port of the node by UDP", "udp", operator, testenv.NodeAddress.Port(8443), false},
		{"the operator to port 443 of a pod", "tcp", operator, net.JoinHostPort(otherIP, "443"), true},
		{"the operator to another port of a pod", "tcp", operator, net.JoinHostPort(otherIP, "8081"), false},
		{"a pod to any port of the node", "tcp", other, testenv.NodeAddress.Port(8443), true},
	}
}

// expectWays waits until each way is open or is refused as it should be: the policy is enforced soon after it changes.
func (w *world) expectWays(t *testing.T, when string, ways []way, open func(way) bool) {
	t.Helper()
	start := time.Now()
	w.eventually(t, "the ways are right "+when, func(context.Context) (bool, error) {
		var wrong []error
		for _, y := range ways {
			err := testenv.InNetworkOf(y.from, y.try)
			if want := open(y); want && err != nil || !want && !errors.Is(err, syscall.ECONNREFUSED) {
				wrong = append(wrong, fmt.Errorf("%s (%s) is to be open: %t; it is %v", y.what, y.to, want, err))
			}
		}
		return len(wrong) == 0, errors.Join(wrong...)
	})
	t.Logf("%d ways were right %s after %s", len(ways), when, round(time.Since(start)))
}

func (y way) try() error {
	conn, err := net.DialTimeout(y.network, y.to, dialTimeout)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if y.network == "tcp" {
		return nil
	}
	// Both a datagram and the kernel's word that it was refused may be lost, hence several.
	for giveUp := time.Now().Add(dialTimeout); time.Now().Before(giveUp); {
		if err = ask(conn, dialTimeout/8); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return err
}

// ask sends a datagram and waits for an answer.
func ask(conn net.Conn, patience time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("?")); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	return err
}

// listen listens in the network of a process, or in the test's own, until the test is over.
func (w *world) listen(t *testing.T, pid int, address string) {
	t.Helper()
	var l net.Listener
	open := func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	}
	if pid == 0 {
		must.Succeed(t, open())
	} else {
		must.Succeed(t, testenv.InNetworkOf(pid, open))
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
}

// echo answers datagrams in the test's own network until the test is over.
func echo(t *testing.T, address string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	must.Succeed(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		datagram := make([]byte, 1)
		for {
			n, from, err := conn.ReadFrom(datagram)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(datagram[:n], from)
		}
	}()
}

// twoReplicas checks that what runs is what was shipped: two pods with a network, of which one leads.
func (w *world) twoReplicas(t *testing.T) {
	pods := w.operators(t)
	if len(pods) != 2 {
		t.Fatalf("there are %d pods of the operator", len(pods))
	}
	for _, p := range pods {
		if p.Spec.HostNetwork || !strings.HasPrefix(p.Status.PodIP, "10.1.0.") {
			t.Errorf("%s has the address %s", p.Name, p.Status.PodIP)
		}
		for _, s := range p.Status.ContainerStatuses {
			if !s.Ready || s.RestartCount != 0 {
				t.Errorf("%s was restarted %d times, ready: %v", p.Name, s.RestartCount, s.Ready)
			}
		}
	}
	leader := w.leader(t)
	t.Logf("%s leads", leader)
	if leader != pods[0].Name && leader != pods[1].Name {
		t.Errorf("it is none of %s, %s", pods[0].Name, pods[1].Name)
	}
}

// killLeader ends the pod that leads without a farewell, shortly before it is to ask for a token: the Lease is still held by
// it. The one that waited takes over; a new pod, which might be quicker now and then, has no node until it has.
func (w *world) killLeader(t *testing.T) {
	leader, waits := w.leader(t), ""
	w.kubectl(t, "cordon", testenv.NodeName)
	var process int
	for _, p := range w.operators(t) {
		if p.Name == leader {
			process = w.process(t, p.UID, "operator")
		} else {
			waits = p.Name
		}
	}
	w.untilRefreshIsNear(t)
	must.Succeed(t, syscall.Kill(process, syscall.SIGKILL))
	killed := time.Now()
	w.kubectl(t, "-n", "keycard-system", "delete", "pod", leader, "--grace-period=0", "--force", "--wait=false")
	w.eventually(t, waits+" leads", func(ctx context.Context) (bool, error) {
		holder, err := w.holder(ctx)
		return holder == waits, err
	})
	t.Logf("the Lease changed hands %s after the kill, to %s", round(time.Since(killed)), waits)
	w.kubectl(t, "uncordon", testenv.NodeName)
	w.untilTwoReady(t)
	t.Logf("two replicas were ready %s after the kill", round(time.Since(killed)))
	w.untilTokenSince(t, killed)
}

// untilTwoReady waits until there are two replicas that can work.
func (w *world) untilTwoReady(t *testing.T) {
	t.Helper()
	w.eventually(t, "there are two replicas", func(ctx context.Context) (bool, error) {
		out, err := w.cluster.Kubectl(ctx, "-n", "keycard-system", "get", "deployment", "keycard-operator", "-o", "jsonpath={.status.readyReplicas}")
		return out == "2", err
	})
}

// probation is how long a container runs before its probes have said what they will: three failures in a row make an end
// of it, which takes about a minute.
const probation = 90 * time.Second

// neverRestarted checks that no container was ever started again, once the replica that was left alone has run for long
// enough. What becomes of the other is told by probesContent.
func (w *world) neverRestarted(t *testing.T) {
	w.eventually(t, "a replica has run for "+probation.String(), func(context.Context) (bool, error) {
		var oldest time.Duration
		for _, p := range w.operators(t) {
			for _, s := range p.Status.ContainerStatuses {
				expectNoRestart(t, p.Name, s)
				if s.State.Running != nil {
					oldest = max(oldest, time.Since(s.State.Running.StartedAt.Time))
				}
			}
		}
		return oldest > probation, nil
	})
	for _, name := range []string{"reports", "early"} {
		expectNoRestart(t, name, w.pod(t, name).Status.ContainerStatuses[0])
	}
}

func expectNoRestart(t *testing.T, pod string, s corev1.ContainerStatus) {
	t.Helper()
	if s.RestartCount != 0 {
		t.Fatalf("%s was restarted %d times, the last time after %+v", pod, s.RestartCount, s.LastTerminationState.Terminated)
	}
}
