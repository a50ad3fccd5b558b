// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command sbom writes what a Go program is made of, as the linker recorded it in the program, in the form of CycloneDX:
// sbom PROGRAM VERSION > FILE.
package main

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"runtime/debug"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: sbom PROGRAM VERSION > FILE")
		os.Exit(2)
	}
	if err := write(os.Stdout, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func write(w io.Writer, program, version string) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return err
	}
	bom, err := describe(info, version)
	if err != nil {
		return err
	}
	return cyclonedx.NewBOMEncoder(w, cyclonedx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cyclonedx.SpecVersion1_6)
}

// describe has no time and no serial number: the same program has the same document.
func describe(info *debug.BuildInfo, version string) (*cyclonedx.BOM, error) {
	info.Main.Version = version
	program := component(cyclonedx.ComponentTypeApplication, info.Main)
	program.Name = path.Base(info.Path)
	// The standard library has no entry of its own there.
	std := debug.Module{Path: "std", Version: strings.TrimPrefix(info.GoVersion, "go")}
	parts := []cyclonedx.Component{component(cyclonedx.ComponentTypeLibrary, std)}
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		part := component(cyclonedx.ComponentTypeLibrary, *module)
		if module.Sum != "" {
			hash, err := sha256(module.Sum)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", module.Path, err)
			}
			part.Hashes = &[]cyclonedx.Hash{hash}
		}
		parts = append(parts, part)
	}
	needs := make([]string, len(parts))
	for i, part := range parts {
		needs[i] = part.BOMRef
	}
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{Component: &program}
	bom.Components = &parts
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: program.BOMRef, Dependencies: &needs}}
	return bom, nil
}

func component(kind cyclonedx.ComponentType, module debug.Module) cyclonedx.Component {
	url := "pkg:golang/" + module.Path + "@" + strings.ReplaceAll(module.Version, "+", "%2B")
	return cyclonedx.Component{Type: kind, BOMRef: url, PackageURL: url, Name: module.Path, Version: module.Version}
}

// sha256 reads a sum as go.sum has it.
func sha256(sum string) (cyclonedx.Hash, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sum, "h1:"))
	return cyclonedx.Hash{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(raw)}, err
}
