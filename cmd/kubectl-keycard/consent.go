// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/keycardai/keycard-operator/internal/consent"
)

// patience is how long a person may take; the zone forgets her after that too.
const patience = 15 * time.Minute

// options are the flags of kubectl keycard consent.
type options struct {
	kubeconfig, context, namespace string
	port                           int
	noBrowser                      bool
	timeout                        time.Duration
	allowInsecureLoopback          bool
}

func (o *options) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file; empty means $KUBECONFIG or ~/.kube/config")
	f.StringVar(&o.context, "context", "", "context of the kubeconfig; empty means the current one")
	f.StringVarP(&o.namespace, "namespace", "n", "", "namespace of the binding; empty means that of the context")
	f.BoolVar(&o.noBrowser, "no-browser", false, "print the link and open nothing; the link works in a browser on this machine")
	f.IntVar(&o.port, "port", 0, fmt.Sprintf("port on 127.0.0.1 that the browser comes back to; 0 means any. With a zone that refuses the redirect URI try %d", consent.LoopbackPort))
	f.DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long to wait, once the person has consented, until the binding is Ready")
	f.BoolVar(&o.allowInsecureLoopback, "allow-insecure-loopback", false, "allow http to zones on a loopback address, for development")
}

func (o *options) validate() error {
	switch {
	case o.port < 0 || o.port > 65535:
		return fmt.Errorf("--port is %d; it has to be 0 to 65535: %w", o.port, errUsage)
	case o.timeout <= 0:
		return fmt.Errorf("--timeout is %s; it has to be more than 0: %w", o.timeout, errUsage)
	}
	return nil
}

func newConsentCommand() *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use:   "consent NAME",
		Short: "Let the application of a ConfluenceTokenBinding act for you",
		Long: `consent opens a browser in which the person that the binding names (spec.subject.user) signs in at the zone
and lets its application act for her. Then it asks the operator for a token, and waits until the binding
is Ready. Nothing but that request is written to the cluster: consent is kept in the zone.

It reads the binding and its KeycardResource, and annotates the binding, with your own permissions.

Exit codes: 0 the binding is Ready, 1 it did not work, 2 wrong usage, 3 consent was refused,
4 consent was given and the binding is not Ready, 130 interrupted.`,
		Example: `  kubectl keycard consent reports -n team-a
  kubectl keycard consent reports -n team-a --no-browser`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return fmt.Errorf("name one ConfluenceTokenBinding; %w", errUsage)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			c, err := connect(o)
			if err != nil {
				return err
			}
			return runConsent(cmd.Context(), cmd.OutOrStdout(), o, c, args[0])
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

// runConsent takes the person through it.
func runConsent(ctx context.Context, out io.Writer, o *options, c *cluster, name string) error {
	request, err := c.request(ctx, name, o.allowInsecureLoopback)
	if err != nil {
		return err
	}
	if err := askPerson(ctx, out, o, request); err != nil {
		return err
	}
	say(out, "%s consented.", request.User)
	asked, err := c.requestToken(ctx, request)
	if err != nil {
		say(out, "%v", err)
	}
	return c.awaitReady(ctx, out, request, asked, o.timeout)
}

// askPerson serves the consent page on this machine until she has been through it.
func askPerson(ctx context.Context, out io.Writer, o *options, request consent.Request) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(o.port)))
	if err != nil {
		return fmt.Errorf("listening for the browser: %w; choose another --port", err)
	}
	addr, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return fmt.Errorf("listening for the browser: the address is %v", listener.Addr())
	}
	base := consent.LoopbackURL(addr.Port)
	answer := make(chan error, 1)
	tell := func(err error) {
		select {
		case answer <- err:
		default: // she went through it twice
		}
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: consent.Handler(consent.Config{
		URL: base, Logger: logr.Discard(),
		Lookup: func(_ context.Context, namespace, name string) (consent.Request, error) {
			if namespace != request.Namespace || name != request.Name {
				return consent.Request{}, consent.ErrUnknown
			}
			return request, nil
		},
		Consented: func(string, string) { tell(nil) },
		Refused: func(_, _, why string) {
			tell(fmt.Errorf("%w: the zone says %s; run the command again to try again", errRefused, why))
		},
	})}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			tell(fmt.Errorf("serving the page: %w", err))
		}
	}()
	defer func() {
		// The last page is still on its way to the browser.
		shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(shutdown)
	}()
	link := consent.Link(base, request.Namespace, request.Name)
	say(out, "%s signs in here, in a browser on this machine:\n\n  %s\n", request.User, link)
	if !o.noBrowser {
		if err := openBrowser(ctx, link); err != nil {
			say(out, "No browser could be opened (%v): open the link yourself.", err)
		}
	}
	select {
	case err := <-answer:
		return err
	case <-time.After(patience):
		return fmt.Errorf("nobody consented within %s; run the command again", patience)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// say prints a line for the person. A terminal that is gone is no reason to stop.
func say(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
