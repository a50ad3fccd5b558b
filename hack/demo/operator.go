// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// startOperator starts the operator as its own ServiceAccount, with the shipped permissions and no others.
func (d *demo) startOperator(ctx context.Context) error {
	cfg, err := d.cluster.ServiceAccount(ctx, "keycard-system", "keycard-operator", time.Hour)
	if err != nil {
		return err
	}
	kubeconfig, err := d.cluster.WriteKubeconfig("keycard-operator", cfg)
	if err != nil {
		return err
	}
	probes, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	d.say("starting the operator as ServiceAccount keycard-system/keycard-operator")
	err = d.startProgram("operator", nil, "--kubeconfig", kubeconfig, "--leader-election-namespace", "keycard-system",
		"--health-probe-bind-address", probes, "--metrics-bind-address", "0",
		"--allow-insecure-loopback", "--atlassian-url", d.zone.atlassian)
	if err != nil {
		return err
	}
	if err := until(ctx, 30*time.Second, func(ctx context.Context) (bool, error) {
		return answers(ctx, "http://"+probes+"/readyz"), nil
	}); err != nil {
		return fmt.Errorf("waiting for the operator to be ready: %w", err)
	}
	return nil
}

// until polls until check is true.
func until(ctx context.Context, patience time.Duration, check wait.ConditionWithContextFunc) error {
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, check)
}

func answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	address := l.Addr().String()
	return address, l.Close()
}
