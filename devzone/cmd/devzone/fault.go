// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/keycardai/keycard-operator/devzone/faults"
)

const aboutFault = `Make a running devzone answer wrongly, to see how a client takes it.

A fault is for requests of an operation (or surface, method, path and grant type),
and says what they get: a status, a broken answer, a delay. It is for all of them,
or --after some, for --count of them, or for a share of them (--rate).`

// faultClient calls the admin endpoint.
type faultClient struct {
	admin  string
	output choice[string]
}

func newFaultCommand() *cobra.Command {
	c := &faultClient{output: choice[string]{value: "table", words: []string{"table", "json"}}}
	cmd := &cobra.Command{Use: "fault", Short: "Make a running devzone answer wrongly", Long: aboutFault, Args: noArguments}
	cmd.PersistentFlags().StringVar(&c.admin, "admin", "http://127.0.0.1:8093", "URL of the admin endpoint")
	list := &cobra.Command{
		Use: "list", Short: "Print the faults in force and how often they hit", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.list(cmd.Context(), cmd.OutOrStdout()) },
	}
	list.Flags().VarP(&c.output, "output", "o", "table, or json for one object a line")
	cmd.AddCommand(c.addCommand(), list,
		&cobra.Command{
			Use: "remove ID", Short: "End a fault", Args: oneArgument,
			RunE: func(cmd *cobra.Command, args []string) error {
				return c.call(cmd.Context(), http.MethodDelete, "/faults/"+args[0], nil, nil)
			},
		},
		&cobra.Command{
			Use: "clear", Short: "End all faults", Args: noArguments,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return c.call(cmd.Context(), http.MethodDelete, "/faults", nil, nil)
			},
		})
	return cmd
}

func oneArgument(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("one id is needed (see %s --help)", cmd.CommandPath())}
	}
	return nil
}

func (c *faultClient) addCommand() *cobra.Command {
	var f faults.Fault
	var rate float64
	cmd := &cobra.Command{
		Use: "add", Short: "Put a fault in force and print its id", Args: noArguments,
		Example: "  devzone fault add --operation token-exchange --status 429 --retry-after 5 --count 3\n" +
			"  devzone fault add --surface atlassian --path '/ex/confluence/**' --latency 2s --rate 0.1\n" +
			"  devzone fault add --operation create-resource --break lost --count 1",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("rate") {
				f.Rate = &rate
			}
			var added faults.State
			if err := c.call(cmd.Context(), http.MethodPost, "/faults", f, &added); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), added.ID)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Operation, "operation", "", "one of "+strings.Join(slices.Sorted(maps.Keys(faults.Operations)), ", "))
	flags.StringVar(&f.Surface, "surface", "", "zone, api or atlassian")
	flags.StringVar(&f.Method, "method", "", "HTTP method")
	flags.StringVar(&f.Path, "path", "", "pattern of the path, such as /zones/*/providers; /** at the end matches everything below")
	flags.StringVar(&f.GrantType, "grant-type", "", "grant type of a token request")
	flags.IntVar(&f.After, "after", 0, "let so many requests through first")
	flags.IntVar(&f.Count, "count", 0, "hit so many requests; 0 hits all")
	flags.Float64Var(&rate, "rate", 1, "hit this share of the requests, from 0 to 1")
	flags.Uint64Var(&f.Seed, "seed", 0, "makes the choice of --rate another one")
	flags.StringVar(&f.Latency, "latency", "", "delay the answer, such as 250ms")
	flags.IntVar(&f.Status, "status", 0, "answer with this status")
	flags.StringVar(&f.Body, "body", "", "body of the answer, with --status")
	flags.StringVar(&f.ContentType, "content-type", "", "type of the answer, with --status (default application/json)")
	flags.IntVar(&f.RetryAfter, "retry-after", 0, "header Retry-After in seconds, with --status")
	flags.StringToStringVar(&f.Headers, "header", nil, "another header, name=value, with --status; may be repeated")
	flags.StringVar(&f.Break, "break", "", "one of "+strings.Join(faults.Breaks, ", "))
	return cmd
}

func (c *faultClient) list(ctx context.Context, out io.Writer) error {
	var answer struct {
		Items []faults.State `json:"items"`
	}
	if err := c.call(ctx, http.MethodGet, "/faults", nil, &answer); err != nil {
		return err
	}
	if c.output.value == "json" {
		encoder := json.NewEncoder(out)
		for _, f := range answer.Items {
			if err := encoder.Encode(f); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSURFACE\tMETHOD\tPATH\tEFFECT\tMATCHED\tHITS")
	for _, f := range answer.Items {
		effect := strings.TrimSpace(f.Latency + " " + f.Break)
		if f.Status != 0 {
			effect = strings.TrimSpace(fmt.Sprintf("%s %d", f.Latency, f.Status))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\n", f.ID, or(f.Surface), or(f.Method), or(f.Path), effect, f.Matched, f.Hits)
	}
	return w.Flush()
}

// call makes a request to the admin endpoint.
func (c *faultClient) call(ctx context.Context, method, path string, body, into any) error {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.admin, "/")+path, reader)
	if err != nil {
		return usageError{fmt.Errorf("--admin: %w", err)}
	}
	return (&caller{http: &http.Client{Timeout: 30 * time.Second}}).send(req, into)
}
