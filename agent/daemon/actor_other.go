//go:build !linux

package daemon

// actor is of no use here: nothing has accounts.
type actor struct{ root bool }

func (a actor) do(act func()) error {
	act()
	return nil
}

func (a actor) always(act func()) { act() }
