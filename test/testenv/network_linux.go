// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// InsideEnv is set in a program that InOwnNetwork started. A program that starts itself and wants another network
// leaves it out.
const InsideEnv = "KEYCARD_TESTENV_INSIDE"

// InOwnNetwork calls run in a network namespace with the addresses, and gives its exit code. Links, rules and ports of
// the machine are not seen there, nor touched, and the kernel removes what is made there with the last process. Go has
// no way into a namespace for all of its threads, so the program starts itself again. outside is called before that.
func InOwnNetwork(outside func() error, run func() int) int {
	if os.Getenv(InsideEnv) != "" {
		if err := addAddresses(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return run()
	}
	if err := outside(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	err := again()
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return 0
	case ended && exit.ExitCode() > 0:
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "running in a network namespace:", err)
	return 1
}

// again starts this program in a namespace, and waits for it.
func again() error {
	// The kernel ends it with the thread that started it, which Go would end with its goroutine.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) //nolint:gosec,noctx // this program, which ends with us
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Args[0], cmd.Env = os.Args[0], append(os.Environ(), InsideEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-signals:
				// After a Ctrl-C it is the second one, which does no harm.
				_ = cmd.Process.Signal(s)
			case <-ended:
				return
			}
		}
	}()
	return cmd.Wait()
}

func addAddresses() error {
	commands := [][]string{{"link", "set", "lo", "up"}}
	for _, a := range addresses {
		commands = append(commands, []string{"address", "add", string(a) + "/32", "dev", "lo"})
	}
	for _, args := range commands {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil { //nolint:gosec,noctx // of the list; done in no time
			return fmt.Errorf("running ip %q: %w: %s", args, err, out)
		}
	}
	return nil
}

// InNetworkOf calls f in the network of another process, such as a pod's. What f opens stays there; goroutines that it
// starts are elsewhere.
func InNetworkOf(pid int, f func() error) error {
	result := make(chan error)
	go func() {
		// It is never unlocked: Go ends a thread whose goroutine ends so, and it has strayed too far to be of use.
		runtime.LockOSThread()
		result <- func() error {
			network, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
			if err != nil {
				return fmt.Errorf("finding the network of a process: %w", err)
			}
			defer func() { _ = network.Close() }()
			if err := unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("entering the network of a process: %w", err)
			}
			return f()
		}()
	}()
	return <-result
}
