// Package ui is the daemon's page: sandboxes, and a live view of what runs in one, for a person with a browser and the daemon's key.
//
// The page is plain HTML, CSS and JavaScript, embedded here as it is in the folder page: there is no build step, and the page asks
// no other host for anything. It talks to the bridge (package bridge) and to the control plane; this package only serves files.
// page/client.js is examples/bridge-client/client.ts without its types, which a test checks.
//
// What a sandbox made is hostile. Text is put into the page as text; pictures are images, which run nothing; HTML and JavaScript are
// shown in frames of their own, without an origin (page/frame.html), which can reach neither the page, nor its key, nor the network.
// The page's policy allows no other scripts than its own, and refuses to make markup of strings.
//
// A Handler keeps nothing and may be used by any number of goroutines. Start at New.
package ui
