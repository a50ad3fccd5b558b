// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// nextSteps is what to try while the demo is kept.
const nextSteps = `Everything is left running until Ctrl-C. In another terminal:

  export KUBECONFIG=%s
  alias kubectl=%s

  kubectl get keycardresources,confluencetokenbindings -A -o wide
  kubectl -n reports describe confluencetokenbinding reports
  kubectl -n reports get secret confluence-token -o jsonpath='{.data.token\.json}' | base64 -d

Remove the Secret: it is written again, with a new token. Add a format: the same token gets another file.

  kubectl -n reports delete secret confluence-token
  kubectl -n reports patch ctb reports --type=merge -p '{"spec":{"secret":{"formats":["Header","Env","Curl"]}}}'

A ServiceAccount without a stored secret calls for carol, who consented. Ask for a new token now:

  kubectl -n reports describe confluencetokenbinding digest
  kubectl -n reports annotate ctb digest --overwrite keycard.cloud/refresh-requested-at="$(date)"

Application reports may act for bob, who has not consented, and not for carol. Bindings for them say so: ConsentRequired
and AccessDenied. The first has a link: open it and sign in as bob@example.com with dev-only-bob-password.

  kubectl apply -f test/demo/people.yaml
  kubectl -n reports get ctb -o wide

Zone %s, management API %s, Atlassian %s,
metrics %s, logs %s

`

// leaveRunning waits for Ctrl-C, which is how this ends well.
func (d *demo) leaveRunning(ctx context.Context) error {
	kubeconfig, err := d.cluster.WriteKubeconfig("admin", d.cluster.Config)
	if err != nil {
		return err
	}
	d.Print(nextSteps, kubeconfig, d.cluster.KubectlPath(), d.zone.issuer, d.zone.api, d.zone.atlassian, d.metricsURL, d.Dir)
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, program.ErrInterrupted) {
		return cause
	}
	return nil
}
