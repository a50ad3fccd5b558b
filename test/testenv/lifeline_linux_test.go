// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// child makes the test binary start a control plane and wait to be killed.
const child = "KEYCARD_TESTENV_CHILD"

// A test binary that is killed leaves no server behind.
func TestServersEndWithTheirStarter(t *testing.T) {
	if os.Getenv(child) != "" {
		startAndWait(t)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServersEndWithTheirStarter$") // #nosec G204 -- this binary
	cmd.Env = append(os.Environ(), child+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dir, hosts := readStarted(t, out)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	for _, host := range hosts {
		if err := dial(t.Context(), host); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
	for _, host := range hosts {
		err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
			return errors.Is(dial(ctx, host), syscall.ECONNREFUSED), nil
		})
		if err != nil {
			t.Errorf("%s outlives the process that started it", host)
		}
	}
}

// startAndWait prints what readStarted reads, and never returns.
func startAndWait(t *testing.T) {
	c, err := Start(Options{ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []string{c.Config.Host, c.env.ControlPlane.Etcd.URL.String(), c.managers[0].ready} {
		u, err := url.Parse(server)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("host", u.Host)
	}
	fmt.Println("dir", c.Dir)
	select {}
}

func readStarted(t *testing.T, out io.Reader) (dir string, hosts []string) {
	t.Helper()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "host":
			hosts = append(hosts, rest)
		case "dir":
			return rest, hosts
		}
	}
	t.Fatalf("the control plane did not start: %v", lines.Err())
	return "", nil
}

func dial(ctx context.Context, host string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", host)
	if err != nil {
		return err
	}
	return conn.Close()
}
