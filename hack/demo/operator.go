// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// accountLifetime outlasts a demo that is kept over a day.
const accountLifetime = 48 * time.Hour

// startOperator starts the operator as its own ServiceAccount, with the shipped permissions and no others.
func (d *demo) startOperator(ctx context.Context) error {
	cfg, err := d.cluster.ServiceAccount(ctx, "keycard-system", "keycard-operator", accountLifetime)
	if err != nil {
		return err
	}
	d.operatorToken = cfg.BearerToken
	kubeconfig, err := d.cluster.WriteKubeconfig("keycard-operator", cfg)
	if err != nil {
		return err
	}
	var probes, metrics, consent string
	for _, address := range []*string{&probes, &metrics, &consent} {
		if *address, err = freeAddress(ctx); err != nil {
			return err
		}
	}
	d.metricsURL, d.consentURL = "http://"+metrics+"/metrics", "http://"+consent
	d.say("starting the operator as ServiceAccount keycard-system/keycard-operator")
	err = d.startProgram("operator", "--kubeconfig", kubeconfig, "--leader-election-namespace", "keycard-system",
		"--health-probe-bind-address", probes, "--metrics-bind-address", metrics, "--verbosity", "1",
		"--shutdown-timeout", (stopTimeout / 2).String(), "--allow-insecure-loopback", "--atlassian-url", d.zone.atlassian,
		"--cluster-id", clusterID, "--consent-address", consent, "--consent-url", d.consentURL)
	if err != nil {
		return err
	}
	if err := until(ctx, 30*time.Second, func(ctx context.Context) (bool, error) {
		_, err := get(ctx, "http://"+probes+"/readyz")
		return err == nil, nil
	}); err != nil {
		return fmt.Errorf("waiting for the operator to be ready: %w", err)
	}
	return nil
}

// until polls until check is true.
func until(ctx context.Context, patience time.Duration, check wait.ConditionWithContextFunc) error {
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, check)
}

// get gives what a URL answers, which has to be 200.
func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("getting %s: HTTP %d", url, resp.StatusCode)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("getting %s: %w", url, err)
	}
	return string(body), nil
}

// httpClient is for servers on this machine.
var httpClient = &http.Client{Timeout: 5 * time.Second}

func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}
