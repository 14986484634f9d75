// Package dssandbox holds what concerns the whole module. The library is package sandbox; README.md shows the way.
package dssandbox
