// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/broker"
	"github.com/keycardai/keycard-operator/devzone/disk"
	"github.com/keycardai/keycard-operator/devzone/localtls"
	"github.com/keycardai/keycard-operator/devzone/seed"
)

// errUsage marks errors in flags, arguments and the seed file.
var errUsage = errors.New("usage")

// usageError is an errUsage that does not show in the text.
type usageError struct{ error }

// Is makes every usageError an errUsage.
func (usageError) Is(target error) bool { return target == errUsage }

// Unwrap returns what was wrong.
func (e usageError) Unwrap() error { return e.error }

// options are the flags of serve.
type options struct {
	zoneAddress, apiAddress                string
	atlassianAddress, adminAddress         string
	issuer, seedFile, dataDir, dataKeyFile string
	tokenLifetime                          time.Duration
	upstreamTokens                         choice[broker.Mode]
	atlassianRefresh                       choice[devzone.RefreshMode]
	omitExpiresIn, strict, verbose         bool
	upstreams                              map[string]string
	upstreamCA, tlsDir                     string
	tlsNames                               []string
}

const about = `Run a Keycard zone for development and tests, with a stand-in for Atlassian.

Four listeners, of which three speak the wire protocol of the hosted services:

  zone       OAuth metadata, JWKS and token endpoint
  api        management API; log in with a service account of the seed
  atlassian  auth.atlassian.com and api.atlassian.com (Confluence)
  admin      fault injection; see devzone fault --help

Objects are registered with Atlassian's real URLs: the zone sends what it has to
say to them to the stand-in. Each listener answers /healthz. Everything starts
from a seed ("devzone seed" prints the default one) and is kept in memory, or in
a folder with --data.

This is not for production: the seed's secrets are public, and the listeners
speak plain HTTP without --tls-dir, on loopback unless told otherwise.

Exit codes: 0 stopped by a signal, 1 failure, 2 wrong flags or seed.`

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "devzone",
		Short:         "Run a Keycard zone for development and tests",
		Long:          about,
		Args:          noArguments,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
	})
	serve := &cobra.Command{
		Use:     "serve",
		Short:   "Run the server (what devzone does without a command)",
		Long:    about,
		Args:    noArguments,
		Example: "  devzone serve --upstream-tokens cached --token-lifetime 30s",
	}
	for _, cmd := range []*cobra.Command{root, serve} {
		o := newOptions()
		o.register(cmd.Flags())
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return o.run(cmd) }
	}
	printSeed := &cobra.Command{
		Use:   "seed",
		Short: "Print the default seed, to be changed and given back with --seed",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := cmd.OutOrStdout().Write(seed.DefaultYAML()); err != nil {
				return fmt.Errorf("printing the seed: %w", err)
			}
			return nil
		},
	}
	root.AddCommand(serve, printSeed, newAuditCommand(), newFaultCommand())
	return root
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command or argument %q (see %s --help)", args[0], cmd.CommandPath())}
	}
	return nil
}

func newOptions() *options {
	return &options{
		upstreamTokens:   choice[broker.Mode]{value: broker.Refresh, words: broker.Modes},
		atlassianRefresh: choice[devzone.RefreshMode]{value: devzone.Overlap, words: devzone.RefreshModes},
	}
}

func (o *options) register(f *pflag.FlagSet) {
	f.StringVar(&o.zoneAddress, "zone-address", "127.0.0.1:8090", "address of the zone's OAuth surface; port 0 picks one")
	f.StringVar(&o.apiAddress, "api-address", "127.0.0.1:8091", "address of the management API; port 0 picks one")
	f.StringVar(&o.atlassianAddress, "atlassian-address", "127.0.0.1:8092", "address of the Atlassian stand-in; port 0 picks one")
	f.StringVar(&o.adminAddress, "admin-address", "127.0.0.1:8093", "address of the admin endpoint, which asks for no authentication; port 0 picks one")
	f.StringVar(&o.issuer, "issuer", "", "issuer of the seeded zone (default: the URL of the zone listener)")
	f.StringVar(&o.seedFile, "seed", "", "YAML file with what the zone starts with (default: built in)")
	f.StringVar(&o.dataDir, "data", "", "folder to keep everything in across restarts, encrypted (default: in memory)")
	f.StringVar(&o.dataKeyFile, "data-key-file", "", "file with the key of the data folder, 32 random bytes in base64; without it the key is\nin the environment variable "+dataKeyVariable)
	f.DurationVar(&o.tokenLifetime, "token-lifetime", time.Hour, "life of upstream access tokens and of tokens the zone signs, from 1s")
	f.Var(&o.upstreamTokens, "upstream-tokens", "upstream token of an exchange: refresh makes a new one each time, cached hands out the\ngrant's while it has life left")
	f.Var(&o.atlassianRefresh, "atlassian-refresh", "what a refresh does to the access token before it: overlap lets it live, invalidate\nends it at once")
	f.BoolVar(&o.omitExpiresIn, "omit-expires-in", false, "leave expires_in out of the zone's token responses")
	f.BoolVar(&o.strict, "strict", false, "refuse parameters and fields that the management API does not know, instead of ignoring them\nwith a warning")
	f.StringToStringVar(&o.upstreams, "upstream", nil, "send the zone's requests for an origin elsewhere, as https://host=http://127.0.0.1:port;\nmay be repeated (default: Atlassian's two go to the stand-in)")
	f.StringVar(&o.upstreamCA, "upstream-ca", "", "PEM file with CAs to trust besides the system's in the zone's own requests, such as that\nof a cluster whose service accounts authenticate")
	f.StringVar(&o.tlsDir, "tls-dir", "", "speak https, with a CA of the server's own that is kept in this folder; clients have to\ntrust the file "+localtls.CAFile+" in it")
	f.StringSliceVar(&o.tlsNames, "tls-name", nil, "host name or address for the certificate, besides those of this machine and the issuer's;\nmay be repeated")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "log every request")
}

// config turns the flags into a configuration.
func (o *options) config(logger *slog.Logger) (devzone.Config, error) {
	c := devzone.Config{
		ZoneAddress:           o.zoneAddress,
		APIAddress:            o.apiAddress,
		AtlassianAddress:      o.atlassianAddress,
		AdminAddress:          o.adminAddress,
		Issuer:                o.issuer,
		ZoneTokenLifetime:     o.tokenLifetime,
		UpstreamTokenLifetime: o.tokenLifetime,
		UpstreamTokens:        o.upstreamTokens.value,
		AtlassianRefresh:      o.atlassianRefresh.value,
		OmitExpiresIn:         o.omitExpiresIn,
		Strict:                o.strict,
		Upstreams:             o.upstreams,
		TLSDir:                o.tlsDir,
		TLSNames:              o.tlsNames,
		Logger:                logger,
	}
	if o.tokenLifetime < time.Second {
		return c, fmt.Errorf("--token-lifetime: %s is too short, it must be at least 1s", o.tokenLifetime)
	}
	var err error
	if c.DataDir, c.DataKey, err = o.data(); err != nil {
		return c, err
	}
	if c.UpstreamCAs, err = o.upstreamCAs(); err != nil {
		return c, fmt.Errorf("--upstream-ca: %w", err)
	}
	if o.seedFile == "" {
		return c, nil
	}
	text, err := os.ReadFile(o.seedFile)
	if err != nil {
		return c, fmt.Errorf("--seed: %w", err)
	}
	if c.Seed, err = seed.Parse(text); err != nil {
		return c, fmt.Errorf("--seed %s: %w", o.seedFile, err)
	}
	return c, nil
}

// upstreamCAs returns the system's CAs and those of the file, or nil without one.
func (o *options) upstreamCAs() (*x509.CertPool, error) {
	if o.upstreamCA == "" {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("loading the system's CAs: %w", err)
	}
	text, err := os.ReadFile(o.upstreamCA)
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", o.upstreamCA)
	}
	return pool, nil
}

// dataKeyVariable names the environment variable with the data folder's key.
const dataKeyVariable = "DEVZONE_DATA_KEY"

// data returns the data folder and its key.
func (o *options) data() (dir string, key []byte, err error) {
	if o.dataDir == "" {
		if o.dataKeyFile != "" {
			return "", nil, errors.New("--data-key-file is of no use without --data")
		}
		return "", nil, nil
	}
	text, source := os.Getenv(dataKeyVariable), dataKeyVariable
	if o.dataKeyFile != "" {
		raw, err := os.ReadFile(o.dataKeyFile)
		if err != nil {
			return "", nil, fmt.Errorf("--data-key-file: %w", err)
		}
		text, source = string(raw), "--data-key-file "+o.dataKeyFile
	}
	if text == "" {
		return "", nil, fmt.Errorf("--data needs a key, because client secrets and tokens are encrypted: make one with "+
			"`openssl rand -base64 %d > key` and give it with --data-key-file key or in %s", disk.KeySize, dataKeyVariable)
	}
	if key, err = disk.ParseKey(text); err != nil {
		return "", nil, fmt.Errorf("%s: %w", source, err)
	}
	return o.dataDir, key, nil
}

// run serves until the command's context ends.
func (o *options) run(cmd *cobra.Command) error {
	level := slog.LevelInfo
	if o.verbose {
		level = slog.LevelDebug
	}
	logger := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	c, err := o.config(logger)
	if err != nil {
		return usageError{err}
	}
	for _, address := range []string{o.zoneAddress, o.apiAddress, o.atlassianAddress, o.adminAddress} {
		if !loopback(address) {
			logger.Warn("listening beyond loopback: this server is for development only, and its seed's secrets are public",
				"address", address, "tls", o.tlsDir != "")
		}
	}
	running, err := devzone.Start(cmd.Context(), c)
	if errors.Is(err, devzone.ErrInvalidConfig) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "zone       %s  zone_id=%s issuer=%s\n", running.ZoneURL, running.ZoneID, running.Issuer)
	fmt.Fprintf(out, "api        %s\n", running.APIURL)
	fmt.Fprintf(out, "atlassian  %s\n", running.AtlassianURL)
	fmt.Fprintf(out, "admin      %s\n", running.AdminURL)
	if o.tlsDir != "" {
		fmt.Fprintf(out, "ca         %s\n", filepath.Join(o.tlsDir, localtls.CAFile))
	}
	return running.Wait()
}

// loopback tells whether an address can be reached from this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		// Listening will say what is wrong with it.
		return true
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// choice is a flag with a few accepted words.
type choice[T ~string] struct {
	value T
	words []T
}

// String returns the chosen word.
func (c *choice[T]) String() string { return string(c.value) }

// Type lists the words for the help text.
func (c *choice[T]) Type() string {
	words := make([]string, len(c.words))
	for i, w := range c.words {
		words[i] = string(w)
	}
	return strings.Join(words, "|")
}

// Set accepts one of the words.
func (c *choice[T]) Set(s string) error {
	if !slices.Contains(c.words, T(s)) {
		return fmt.Errorf("must be one of %s", c.Type())
	}
	c.value = T(s)
	return nil
}
