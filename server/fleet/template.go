package fleet

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// DefaultTemplate is what a Spec without a template is made from.
const DefaultTemplate = "base"

// Template is something sandboxes are made from.
type Template struct {
	ID      string   // ^[a-z0-9][a-z0-9._-]*$
	Aliases []string // further names
	Image   string   // of the container; "" is the engine's. Other backends refuse it
	Limits  sandbox.Limits
	// Snapshot tells that it is the files of a sandbox; see Fleet.Snapshots.
	Snapshot bool
}

// builtIn are the templates that clients of E2B name without having made them.
var builtIn = []Template{
	{ID: DefaultTemplate, Aliases: []string{"default"}},
	{ID: "code-interpreter-v1", Aliases: []string{"code-interpreter"}},
}

var templateName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}$`)

// CheckTemplates says which of Options.Templates can not be told apart, or are none.
func CheckTemplates(templates []Template) error {
	taken := make(map[string]bool)
	for _, t := range templates {
		for _, name := range append([]string{t.ID}, t.Aliases...) {
			if !templateName.MatchString(name) {
				return specErrorf("templates", "%q is no name: use lower-case letters, digits, dots, dashes and underscores", name)
			}
			if taken[name] {
				return specErrorf("templates", "there are two of the name %q", name)
			}
			taken[name] = true
		}
		if err := t.Limits.Check(); err != nil {
			return specErrorf("templates", "%s: %v", t.ID, err)
		}
	}
	return nil
}

func (t *Template) is(name string) bool { return t.ID == name || slices.Contains(t.Aliases, name) }

// base is what a sandbox is made from: a template, an image or a snapshot.
type base struct {
	template string // its id
	alias    string // the name it was asked for by, where that is another one
	image    string
	limits   sandbox.Limits
	snapshot *snapshot // its use is counted; nil when it is none
}

// untagged is a name without the tag that stands for its newest build.
func untagged(name string) string {
	for _, tag := range []string{":default", ":latest"} {
		if rest, ok := strings.CutSuffix(name, tag); ok {
			return rest
		}
	}
	return name
}

// Templates are those of the daemon and then the owner's snapshots. A configured one hides a built-in of the same name.
func (f *Fleet) Templates(owner *Owner) []Template {
	all := slices.Clone(f.options.Templates)
	for _, t := range builtIn {
		if !slices.ContainsFunc(all, func(own Template) bool { return own.is(t.ID) }) {
			all = append(all, t)
		}
	}
	for _, s := range f.Snapshots(owner, "") {
		all = append(all, Template{ID: s.ID, Aliases: s.Names, Snapshot: true})
	}
	return all
}

// Template finds a template by its id or an alias. Error: ErrNoTemplate.
func (f *Fleet) Template(owner *Owner, name string) (Template, error) {
	name = cmp.Or(name, DefaultTemplate)
	all := f.Templates(owner)
	for _, candidate := range []string{name, untagged(name)} {
		for _, t := range all {
			if t.is(candidate) {
				return t, nil
			}
		}
	}
	if s, ok := f.snapshots.get(owner.Name, name); ok {
		return Template{ID: s.ID, Aliases: s.Names, Snapshot: true}, nil
	}
	known := make([]string, len(all))
	for i, t := range all {
		known[i] = t.ID
	}
	return Template{}, &TemplateError{Name: name, Known: known}
}

// resolve finds what a sandbox is to be made from. A snapshot is in use from then on: release lets go of it.
func (f *Fleet) resolve(owner *Owner, name string) (*base, error) {
	name = cmp.Or(name, DefaultTemplate)
	t, err := f.Template(owner, name)
	switch {
	case err != nil && f.admitsImage(name):
		return &base{template: name, image: name}, nil
	case err != nil:
		return nil, err
	}
	b := &base{template: t.ID, image: t.Image, limits: t.Limits}
	if name != t.ID {
		b.alias = name
	} else if len(t.Aliases) > 0 {
		b.alias = t.Aliases[0]
	}
	if t.Snapshot {
		if b.snapshot, err = f.snapshots.use(owner, t.ID); err != nil {
			return nil, err
		}
		b.image = b.snapshot.Image
	}
	return b, nil
}

func (b *base) release(f *Fleet) {
	if b.snapshot != nil {
		f.snapshots.release(b.snapshot)
	}
}

// imageName is what an engine may take for the name of an image.
var imageName = regexp.MustCompile(`^[a-z0-9][a-zA-Z0-9._/:@-]{0,254}$`)

// admitsImage reports whether sandboxes may be made from an image by its name.
func (f *Fleet) admitsImage(name string) bool {
	if f.engine.Choice().Backend != "docker" || !imageName.MatchString(name) {
		return false
	}
	return slices.ContainsFunc(f.options.Images, func(pattern string) bool {
		if pattern == "*" {
			return true
		}
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// limits are what a sandbox gets: what was asked for, or its template's, or the engine's.
func (f *Fleet) limits(owner *Owner, asked, template sandbox.Limits) sandbox.Limits {
	l := asked
	l.Memory = cmp.Or(l.Memory, template.Memory)
	l.CPUs = cmp.Or(l.CPUs, template.CPUs)
	l.CPUTime = cmp.Or(l.CPUTime, template.CPUTime)
	l.Processes = cmp.Or(l.Processes, template.Processes)
	l.FileSize = cmp.Or(l.FileSize, template.FileSize)
	l.OpenFiles = cmp.Or(l.OpenFiles, template.OpenFiles)
	l.Disk = cmp.Or(l.Disk, template.Disk)
	if l.Memory == 0 && f.engine.Config().DefaultLimits.Memory == 0 && owner.Limits.Memory > 0 {
		l.Memory = min(UnsizedMemory, owner.Limits.Memory)
	}
	return l
}

// container is what only containers have.
func (b *base) container(network backends.Network) backends.Container {
	return backends.Container{Image: b.image, Network: network}
}
