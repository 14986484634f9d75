package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// maxFile bounds a configuration file, bytes.
const maxFile = 1 << 20

// Sources are where a Config comes from; each wins over those before it.
type Sources struct {
	Base   Config                                        // what no other source says
	File   string                                        // a YAML file; "" is none
	Lookup func(variable string) (value string, ok bool) // of the environment, such as os.LookupEnv; nil is none
	Flags  map[string]string                             // by the names of options
}

// Load makes a Config and says all that is wrong with it at once. Errors are *OptionError, or about the file.
func Load(from Sources) (Config, error) {
	c := from.Base
	var errs []error
	if from.File != "" {
		if err := loadFile(&c, from.File); err != nil {
			errs = append(errs, err)
		}
	}
	for i := range options {
		o := &options[i]
		if from.Lookup != nil {
			if text, ok := from.Lookup(o.Variable()); ok && text != "" {
				errs = append(errs, apply(&c, o, text, o.Variable()))
			}
		}
		if text, ok := from.Flags[o.Name]; ok {
			errs = append(errs, apply(&c, o, text, "--"+o.Name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return c, err
	}
	return c.complete()
}

func apply(c *Config, o *Option, text, source string) error {
	if err := o.set(c, text); err != nil {
		if o.Secret {
			err = errors.New("it can't be a key")
		}
		return &OptionError{Option: o.Name, Source: source, Problem: err.Error()}
	}
	return nil
}

func loadFile(c *Config, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		return err
	case len(data) > maxFile:
		return fmt.Errorf("%s: it has more than %d bytes", path, maxFile)
	}
	if err := parseFile(c, data, filepath.Dir(path)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// fileConfig is a configuration file: options by their names, and what only a file has.
type fileConfig struct {
	Keys      []keyConfig          `yaml:"keys"`
	Templates []templateConfig     `yaml:"templates"`
	Options   map[string]yaml.Node `yaml:",inline"`
}

// keyConfig is a key in a file.
type keyConfig struct {
	Name             string `yaml:"name"`
	Key              string `yaml:"key"`
	KeyFile          string `yaml:"key_file"`
	Sandboxes        int    `yaml:"sandboxes"`
	Memory           string `yaml:"memory"`
	CreatesPerMinute int    `yaml:"creates_per_minute"`
	Streams          int    `yaml:"streams"`
}

// templateConfig is a template in a file.
type templateConfig struct {
	ID      string   `yaml:"id"`
	Aliases []string `yaml:"aliases"`
	Image   string   `yaml:"image"`
	Memory  string   `yaml:"memory"`
	Disk    string   `yaml:"disk"`
	CPUs    float64  `yaml:"cpus"`
}

// parseFile reads a file's text; relative paths in it are of the folder dir.
func parseFile(c *Config, data []byte, dir string) error {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	var f fileConfig
	if err := decoder.Decode(&f); err != nil && !errors.Is(err, io.EOF) { // an empty one says nothing
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	var errs []error
	for key, node := range f.Options {
		errs = append(errs, fileOption(c, key, &node, dir))
	}
	for i := range f.Keys {
		key, err := f.Keys[i].read(dir)
		if err != nil {
			errs = append(errs, fmt.Errorf("keys: number %d: %w", i+1, err))
			continue
		}
		c.Keys = append(c.Keys, key)
	}
	for i := range f.Templates {
		template, err := f.Templates[i].read()
		if err != nil {
			errs = append(errs, fmt.Errorf("templates: number %d: %w", i+1, err))
			continue
		}
		c.Templates = append(c.Templates, template)
	}
	return errors.Join(errs...)
}

// fileOption reads one option: a scalar, or a list of them.
func fileOption(c *Config, key string, node *yaml.Node, dir string) error {
	o := optionOf(key)
	if o == nil {
		return fmt.Errorf("line %d: %.80q is no option: see `ds-sandbox serve --help`, with _ for -", node.Line, key)
	}
	var texts []string
	switch node.Kind {
	case yaml.ScalarNode:
		texts = []string{node.Value}
	case yaml.SequenceNode:
		for _, item := range node.Content {
			if item.Kind != yaml.ScalarNode {
				return fmt.Errorf("line %d: %s: use a value, or a list of values", item.Line, key)
			}
			texts = append(texts, item.Value)
		}
	default:
		return fmt.Errorf("line %d: %s: use a value, or a list of values", node.Line, key)
	}
	text := strings.Join(texts, ",")
	if o.path && text != "" && !filepath.IsAbs(text) {
		text = filepath.Join(dir, text)
	}
	return apply(c, o, text, fmt.Sprintf("line %d: %s", node.Line, key))
}

func (k *keyConfig) read(dir string) (access.Key, error) {
	owner := &fleet.Owner{Name: k.Name}
	key := access.Key{Secret: k.Key, Owner: owner}
	switch {
	case k.Name == "":
		return key, errors.New("it has no name")
	case (k.Key == "") == (k.KeyFile == ""):
		return key, fmt.Errorf("%.80q: it needs either key or key_file", k.Name)
	case k.Sandboxes < 0 || k.CreatesPerMinute < 0 || k.Streams < 0:
		return key, fmt.Errorf("%.80q: limits are positive numbers; leave out what is not limited", k.Name)
	}
	owner.Limits = fleet.Limits{Sandboxes: k.Sandboxes, CreatesPerMinute: k.CreatesPerMinute, Streams: k.Streams}
	var err error
	if k.Memory != "" {
		if owner.Limits.Memory, err = sandbox.ParseSize(k.Memory); err != nil {
			return key, fmt.Errorf("%.80q: memory: %w", k.Name, err)
		}
	}
	if k.KeyFile != "" {
		file := k.KeyFile
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		if key.Secret, _, err = access.File(file, false); err != nil {
			return key, fmt.Errorf("%.80q: key_file: %w", k.Name, err)
		}
	}
	return key, nil
}

func (t *templateConfig) read() (fleet.Template, error) {
	template := fleet.Template{ID: t.ID, Aliases: t.Aliases, Image: t.Image, Limits: sandbox.Limits{CPUs: t.CPUs}}
	var err error
	if t.Memory != "" {
		if template.Limits.Memory, err = sandbox.ParseSize(t.Memory); err != nil {
			return template, fmt.Errorf("%.80q: memory: %w", t.ID, err)
		}
	}
	if t.Disk != "" {
		if template.Limits.Disk, err = sandbox.ParseSize(t.Disk); err != nil {
			return template, fmt.Errorf("%.80q: disk: %w", t.ID, err)
		}
	}
	return template, nil
}
