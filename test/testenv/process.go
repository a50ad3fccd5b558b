// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// startTimeout is how long a process may take until it answers.
const startTimeout = 60 * time.Second

// process is a program of the control plane.
type process struct {
	name, path string
	args       []string
	// ready answers 200 when the program can be used. Empty: once it runs.
	ready string
	// inner is set when the program is the child of what was started, nsenter or unshare.
	inner bool
	log   io.Writer

	cmd *exec.Cmd
	// done is closed when the program has ended, with err.
	done chan struct{}
	err  error
}

// start starts the program and waits until it can be used.
func (p *process) start() error {
	if err := p.launch(); err != nil || p.ready == "" {
		return err
	}
	return p.await()
}

func (p *process) launch() error {
	p.cmd = exec.CommandContext(context.Background(), p.path, p.args...) //nolint:gosec // our own binaries, ended by stop
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	// A group of its own keeps Ctrl-C for the caller, who stops things in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	p.done = make(chan struct{})
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return nil
}

// await waits until the program answers.
func (p *process) await() error {
	client := &http.Client{
		Timeout: time.Second,
		// The certificate is one that the program made for itself a moment ago.
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, // #nosec G402 -- loopback
	}
	err := wait.PollUntilContextTimeout(context.Background(), 100*time.Millisecond, startTimeout, true, func(ctx context.Context) (bool, error) {
		select {
		case <-p.done:
			return false, fmt.Errorf("it ended: %w", cmpErr(p.err))
		default:
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.ready, nil)
		if err != nil {
			return false, err
		}
		resp, err := client.Do(request)
		if err != nil {
			return false, nil //nolint:nilerr // not up yet
		}
		return resp.StatusCode == http.StatusOK, resp.Body.Close()
	})
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", p.name, err)
	}
	return nil
}

func cmpErr(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

func (p *process) stop() error {
	if p.cmd == nil || p.cmd.Process == nil {
		return nil
	}
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(stopTimeout):
		p.signal(syscall.SIGKILL)
		<-p.done
		return fmt.Errorf("%s did not end within %s and was killed", p.name, stopTimeout)
	}
}

// signal signals the program, which may have ended.
func (p *process) signal(s syscall.Signal) {
	if child := p.child(); p.inner && child > 0 {
		_ = syscall.Kill(child, s)
		return
	}
	_ = p.cmd.Process.Signal(s)
}

// child is the process id of the program's first child; 0 when there is none.
func (p *process) child() int {
	pid := p.cmd.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(children)), " ")
	child, err := strconv.Atoi(first)
	if err != nil {
		return 0
	}
	return child
}

func freePort() (int, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}
